package secrets

// PretendMounted makes paths count as mount points, which a test can not make
// without privileges.
func (l *Loader) PretendMounted(paths ...string) {
	points := map[string]bool{}
	for _, p := range paths {
		points[p] = true
	}
	l.fixed = l.findFixed(points)
}

// HoldKeys keeps whoever would change the keys of a ring waiting while fn runs,
// which may ask whether somebody does.
func HoldKeys(r *Ring, fn func(waiting func() bool)) {
	inner := r.inner()
	inner.mu.RLock()
	defer inner.mu.RUnlock()
	fn(func() bool {
		if inner.mu.TryRLock() {
			inner.mu.RUnlock()
			return false
		}
		return true
	})
}

// RaceEnabled is whether the race detector runs, which allocates.
const RaceEnabled = raceEnabled
