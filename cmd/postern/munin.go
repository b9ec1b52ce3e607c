package main

import (
	"context"
	"fmt"
	"slices"

	"postern/cmd/postern/internal/monitor"
)

// munin is a plugin of Munin.
func munin(ctx context.Context, p process) error {
	var what string
	if len(p.args) > 0 {
		what = p.args[0]
	}
	switch what {
	case "config":
		fmt.Fprint(p.stdout, monitor.MuninConfig())
		if !slices.Contains(p.environ, "MUNIN_CAP_DIRTYCONFIG=1") { // values at once
			return nil
		}
	case "autoconf":
		if _, err := p.askState(ctx, checkTimeout); err != nil {
			fmt.Fprintf(p.stdout, "no (%v)\n", err)
			return nil
		}
		fmt.Fprintln(p.stdout, "yes")
		return nil
	case "":
	default:
		return wrongUsage("got %q, want config, autoconf or nothing", what)
	}
	state, err := p.askState(ctx, checkTimeout)
	if err != nil {
		fmt.Fprint(p.stdout, monitor.MuninNoData())
		return nil
	}
	fmt.Fprint(p.stdout, state.Munin())
	return nil
}
