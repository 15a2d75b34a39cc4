package secrets

import (
	"bytes"
	"os"
	"strconv"
	"sync"
)

// scrubInitial overwrites the entries of the variables, name and value, in the
// block of memory that the process was started with. It writes through
// /proc/self/mem, which needs no privilege, and fails where /proc is missing or
// the process is not dumpable; the latter also hides environ from others.
func scrubInitial(variables []string) (trace string) {
	const still = "the initial environment could not be overwritten, so /proc still shows the variables"
	start, end, ok := initialBlock()
	if !ok {
		return still
	}
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return still
	}
	defer mem.Close()
	block := make([]byte, end-start)
	defer clear(block)
	if _, err := mem.ReadAt(block, start); err != nil {
		return still
	}
	want := make(map[string]bool, len(variables))
	for _, name := range variables {
		want[name] = true
	}
	failed := false
	eachEntry(block, func(name, _ []byte, at, length int) {
		if want[string(name)] {
			_, err := mem.WriteAt(make([]byte, length), start+int64(at))
			failed = failed || err != nil
		}
	})
	if failed {
		return still
	}
	return ""
}

// initialBlock returns where the kernel put the environment: fields env_start
// and env_end of /proc/self/stat (proc_pid_stat(5), 50 and 51).
func initialBlock() (start, end int64, ok bool) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, false
	}
	return parseStat(stat)
}

func parseStat(stat []byte) (start, end int64, ok bool) {
	// The name of the program, in parentheses, may hold spaces and parentheses.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const first = 3 // number of the field behind the name
	if len(fields) <= 51-first {
		return 0, 0, false
	}
	start, err := strconv.ParseInt(string(fields[50-first]), 10, 64)
	if err != nil {
		return 0, 0, false
	}
	end, err = strconv.ParseInt(string(fields[51-first]), 10, 64)
	const limit = 64 << 20 // an environment is at most a quarter of the stack limit (execve(2))
	return start, end, err == nil && start > 0 && end > start && end-start <= limit
}

// eachEntry calls fn for each NAME=value of a block of entries that end in NUL.
func eachEntry(block []byte, fn func(name, value []byte, at, length int)) {
	for at := 0; at < len(block); {
		entry, _, _ := bytes.Cut(block[at:], []byte{0})
		if name, value, ok := bytes.Cut(entry, []byte("=")); ok {
			fn(name, value, at, len(entry))
		}
		at += len(entry) + 1
	}
}

// doubledVariables returns the names that the process was started with more
// than once, with different values. Go takes the first and hides the others;
// a shell or a C library may take the last. The initial environment does not
// change, so one look at the first load is enough.
var doubledVariables = sync.OnceValue(func() map[string]bool {
	block, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		return nil
	}
	defer clear(block)
	return doubled(block)
})

func doubled(block []byte) map[string]bool {
	first := map[string][]byte{}
	var names map[string]bool
	eachEntry(block, func(name, value []byte, _, _ int) {
		if before, ok := first[string(name)]; !ok {
			first[string(name)] = value
		} else if !bytes.Equal(before, value) {
			if names == nil {
				names = map[string]bool{}
			}
			names[string(name)] = true
		}
	})
	return names
}
