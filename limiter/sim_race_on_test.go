//go:build race

package limiter_test

// underRace says whether the race detector watches, which makes a simulation ten times slower and has nothing to find
// in its one goroutine.
const underRace = true
