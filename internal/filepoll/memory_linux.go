package filepoll

import "syscall"

// Magic numbers of linux/magic.h.
const (
	tmpfsMagic = 0x01021994
	ramfsMagic = 0x858458f6
)

// InMemory reports whether path lies on tmpfs or ramfs.
func InMemory(path string) bool {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return false
	}
	magic := uint32(st.Type)
	return magic == tmpfsMagic || magic == ramfsMagic
}
