package secrets

import (
	"bytes"
	"os"
)

// mountPoints returns where something is mounted, as this process sees it.
func mountPoints() map[string]bool {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return parseMountInfo(info)
}

// parseMountInfo reads the fifth field of each line (proc_pid_mountinfo(5)), in
// which space, tab, line end and backslash are written as \ and three octal
// digits.
func parseMountInfo(info []byte) map[string]bool {
	points := map[string]bool{}
	for line := range bytes.Lines(info) {
		if fields := bytes.Fields(line); len(fields) > 4 {
			points[unescapeOctal(fields[4])] = true
		}
	}
	return points
}

func unescapeOctal(b []byte) string {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) {
			n, octal := 0, true
			for _, c := range b[i+1 : i+4] {
				n, octal = n<<3|int(c-'0'), octal && c >= '0' && c <= '7'
			}
			if octal && n < 256 {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		out = append(out, b[i])
	}
	return string(out)
}
