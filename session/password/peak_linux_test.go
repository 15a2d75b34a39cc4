package password

import (
	"os"
	"syscall"
)

// peakMiB is how much memory a process took that has ended.
func peakMiB(p *os.ProcessState) (int64, bool) {
	u, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, false
	}
	return u.Maxrss >> 10, true
}
