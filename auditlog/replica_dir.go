package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/inovy/hardening/internal/durable"
)

// DirReplica is a [Replica] in another directory, such as a mount of another
// machine's disk.
type DirReplica struct{ dir string }

// NewDirReplica returns a replica in dir, which must exist: where dir is below a
// mount point and the disk is not mounted, nothing is replicated to the disk
// under it instead.
func NewDirReplica(dir string) (*DirReplica, error) {
	if dir == "" {
		return nil, errors.New("auditlog: a replica needs a directory")
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("auditlog: there is no directory %s to replicate to; mount its disk, or make it once with mode 0700", dir)
	}
	return &DirReplica{dir}, nil
}

// Size returns how much of the segment is there.
func (d *DirReplica) Size(_ context.Context, segment string) (int64, error) {
	if _, ok := parseSegmentName(segment); !ok {
		return 0, fmt.Errorf("auditlog: %q is no segment", segment)
	}
	info, err := os.Stat(filepath.Join(d.dir, segment))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Append writes at the end of the segment and syncs it.
func (d *DirReplica) Append(ctx context.Context, segment string, offset int64, data []byte) (err error) {
	n, err := d.Size(ctx, segment)
	if err != nil {
		return err
	}
	if n != offset {
		return fmt.Errorf("auditlog: the replica of %s has %d bytes, not %d", segment, n, offset)
	}
	f, err := os.OpenFile(filepath.Join(d.dir, segment), os.O_WRONLY|os.O_CREATE, 0o600) // #nosec G304 -- a segment's name in the configured directory
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Truncate(offset)) // half a write is taken back, so that offset stays the end
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if offset == 0 {
		return durable.SyncDir(d.dir)
	}
	return nil
}
