package secrets

// Loader reports on what one [Load] loaded, and wipes it in the end. It holds
// the same opaque secrets as the struct that was filled. All methods are safe
// for concurrent use.
type Loader struct {
	_     [0]func()
	opts  Options
	items []item // never changed after Load
}

// Close wipes every secret and ring that was loaded, also in the struct that
// Load filled and in all copies of it; public settings stay. After Close an
// exposed secret is empty and a Ring derives nothing, so it comes last. Close
// may be called more than once and always returns nil.
func (l *Loader) Close() error {
	for _, it := range l.items {
		it.secret.Destroy()
		it.ring.Destroy()
	}
	return nil
}
