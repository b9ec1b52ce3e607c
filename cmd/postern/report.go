package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"

	"postern/cmd/postern/internal/admin"
)

// prepareReport declares the flags of `postern report`, which prints the report
// on an incident that the running postern makes.
func prepareReport(flags *flag.FlagSet) func(context.Context, process) error {
	public := flags.Bool("public", false, "leave out addresses, accounts and limits, and round numbers: for publication")
	asJSON := flags.Bool("json", false, "print JSON instead of Markdown")
	return func(ctx context.Context, p process) error {
		if len(p.args) > 1 {
			return wrongUsage("got %d arguments, want the ID of one incident", len(p.args))
		}
		query := url.Values{}
		if len(p.args) == 1 {
			query.Set("incident", p.args[0])
		}
		if *public {
			query.Set("public", "true")
		}
		if *asJSON {
			query.Set("format", "json")
		}
		client, err := p.operatorClient()
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		text, err := client.Get(ctx, admin.ReportPath+"?"+query.Encode())
		if err != nil {
			return err
		}
		_, err = p.stdout.Write(text)
		return err
	}
}
