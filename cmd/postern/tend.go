package main

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// tend runs f, which must end when its context does, until the function that it
// returns is called. An operator who has set one of the variables of Go's own that
// are named tends to it himself.
func (s surroundings) tend(f func(context.Context), variables ...string) (stop func()) {
	if slices.ContainsFunc(s.environ, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(variables, name)
	}) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tending sync.WaitGroup
	tending.Go(func() { f(ctx) })
	return func() {
		cancel()
		tending.Wait()
	}
}
