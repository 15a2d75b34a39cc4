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

// RaceEnabled is whether the race detector runs, which allocates.
const RaceEnabled = raceEnabled
