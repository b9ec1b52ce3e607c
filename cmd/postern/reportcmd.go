package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
)

// prepareReport declares the flags of `postern report`, which prints the report
// on an incident as the running gate draws it up.
func prepareReport(flags *flag.FlagSet) func(context.Context, surroundings) error {
	public := flags.Bool("public", false, "leave out addresses, accounts and limits, and round numbers: fit to be posted")
	asJSON := flags.Bool("json", false, "print JSON instead of Markdown")
	return func(ctx context.Context, s surroundings) error {
		if len(s.args) > 1 {
			return errors.New("report: takes one incident")
		}
		query := url.Values{}
		if len(s.args) == 1 {
			query.Set("incident", s.args[0])
		}
		if *public {
			query.Set("public", "true")
		}
		if *asJSON {
			query.Set("format", "json")
		}
		admin, err := s.operatorClient()
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		text, err := admin.get(ctx, reportPath+"?"+query.Encode())
		if err != nil {
			return err
		}
		_, err = s.stdout.Write(text)
		return err
	}
}
