//go:build !race

package watch

// underRace says whether the race detector watches, which makes all of this ten times slower.
const underRace = false
