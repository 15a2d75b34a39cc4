package secrets

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/inovy/hardening/internal/filepoll"
)

// watched is a file that items came from.
type watched struct {
	file  *fileRef
	items []int
}

// watch starts what keeps Live and Ring fields up to date. snapshot is what Load
// read.
func (l *Loader) watch(ctx context.Context, snapshot filepoll.Snapshot) {
	changes := func(it item) bool { return it.field.target != toSecret }
	hot := false
	for i, it := range l.current().items {
		switch {
		case it.file != nil:
			l.watchFile(it.file, i)
			hot = hot || changes(it)
		case it.meta != nil && changes(it) && !slices.Contains(l.vaults, it.source):
			l.vaults = append(l.vaults, it.source)
		}
	}
	l.mu.Lock()
	l.schedule(nil)
	l.mu.Unlock()
	if !hot && len(l.vaults) == 0 {
		return
	}
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if hot {
		l.fixed = l.findFixed(mountPoints())
		var initial filepoll.Snapshot
		for _, path := range l.paths() {
			i := slices.IndexFunc(snapshot.Files, func(f filepoll.File) bool { return f.Path == path })
			initial.Files = append(initial.Files, snapshot.Files[i])
		}
		l.poller = filepoll.Start(ctx, filepoll.Config{Paths: l.paths(), MaxBytes: maxBytes, Interval: l.opts.PollInterval, Apply: l.applyWatched}, initial)
	}
	if len(l.vaults) > 0 {
		l.fetch.Go(func() {
			tick := time.NewTicker(l.opts.FetchInterval)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					_ = l.applyProviders(ctx, true) // announced and in Check
				}
			}
		})
	}
}

func (l *Loader) watchFile(file *fileRef, item int) {
	for i := range l.watched {
		if l.watched[i].file.path == file.path {
			l.watched[i].items = append(l.watched[i].items, item)
			return
		}
	}
	l.watched = append(l.watched, watched{file, []int{item}})
}

func (l *Loader) paths() []string {
	paths := make([]string, 0, len(l.watched))
	for _, w := range l.watched {
		paths = append(paths, w.file.paths()...)
	}
	return paths
}

// findFixed names the secrets whose file is a mount point itself: a volume's
// subPath or a single file mounted by a container engine. What replaces the file
// on the host does not reach the mount.
func (l *Loader) findFixed(points map[string]bool) (names []string) {
	for _, w := range l.watched {
		path, err := filepath.Abs(w.file.path)
		if err != nil || !points[path] && !points[w.file.real] {
			continue
		}
		for _, i := range w.items {
			names = append(names, l.current().items[i].field.name)
		}
	}
	return names
}
