package main

import (
	"context"
	"fmt"
	"strings"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/monitor"
)

// upgrade has the running postern start the program that is installed now, which takes over from it.
func upgrade(ctx context.Context, p process) error {
	var next monitor.Generation
	if err := p.post(ctx, admin.UpgradePath, &next); err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	p.printUpgraded(next)
	return nil
}

// printUpgraded says which process accepts connections now.
func (p process) printUpgraded(next monitor.Generation) {
	fmt.Fprintf(p.stdout, "process %d (generation %d, %s) accepts connections; `postern status` shows the sessions of the former one\n",
		next.PID, next.Number, eventlog.StripControl(next.Version))
}

// reload has the running postern read its settings and certificates again, or start the program that is installed now if it
// is another one.
func reload(ctx context.Context, p process) error {
	var done admin.Reloaded
	if err := p.post(ctx, admin.ReloadPath, &done); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	if done.Upgraded != nil {
		p.printUpgraded(*done.Upgraded)
		return nil
	}
	fmt.Fprintln(p.stdout, "settings reloaded; changed:", names(done.Changed))
	if len(done.Restart) > 0 {
		fmt.Fprintln(p.stdout, "these need an upgrade (postern upgrade) to take effect:", names(done.Restart))
	}
	return nil
}

// names lists settings.
func names(settings []string) string {
	if len(settings) == 0 {
		return "none"
	}
	return strings.Join(settings, ", ")
}

// post sends a request without content to the running postern, and reads the answer into v. The answer may take as long as
// an upgrade.
func (p process) post(ctx context.Context, path string, v any) error {
	c, err := config.Load(p.environ)
	client, err := admin.NewOperatorClient(c, err, admin.UpgradeTime)
	if err != nil {
		return err
	}
	return client.PostJSON(ctx, path, struct{}{}, v)
}
