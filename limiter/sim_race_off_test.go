//go:build !race

package limiter_test

const underRace = false
