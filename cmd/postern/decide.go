package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
)

// This file has the commands by which an operator decides: block, allow, observe, enforce,
// release, forget, and decisions, which lists what was decided.

// decideHelp says what each kind of decision does.
var decideHelp = map[decisions.Kind]string{
	decisions.Block: `refuse the clients of a network for a while:

NET is an address or a network such as 192.0.2.0/24; of an IPv6 address it is the /64. Connections that are open from there
are closed. It asks before it blocks known users, your own address, EXEMPT, PROXY_FROM, FORWARDED_FROM or backends, and
networks wider than /16 (IPv6: /32). postern release NET ends it.`,
	decisions.Allow: `let the clients of a network in for a while, such as an office:

NET is an address or a network such as 192.0.2.0/24; of an IPv6 address it is the /64. The limits for strangers do not apply to
its clients, and they go first when logins have to wait, for at most a fifth of LIMIT_GLOBAL. It wins over any block.
postern release NET ends it.`,
	decisions.Observe: `report verdicts for a while and enforce none, as MODE=observe does`,
	decisions.Enforce: `enforce verdicts for a while although MODE is observe, or again after postern observe`,
}

// prepareDecide returns what declares the flags of the command for one kind of decision.
func prepareDecide(kind decisions.Kind) func(*flag.FlagSet) func(context.Context, process) error {
	return func(flags *flag.FlagSet) func(context.Context, process) error {
		r := decisions.Request{Kind: kind}
		onNetwork := kind == decisions.Block || kind == decisions.Allow
		forHelp := "a `duration` such as 30m, at most 24h"
		if onNetwork {
			forHelp = "a `duration` such as 30m, 8h or 7d, or forever"
			flags.BoolVar(&r.Force, "force", false, "do not ask, whatever it may hit")
		}
		flags.StringVar(&r.For, "for", decisions.DefaultFor(kind), forHelp)
		flags.StringVar(&r.Comment, "comment", "", "a `text` for the list of decisions, such as the reason")
		asJSON := flags.Bool("json", false, "print JSON")
		return func(ctx context.Context, p process) error {
			if onNetwork && len(p.args) != 1 {
				return wrongUsage("got %d arguments, want one address or network", len(p.args))
			}
			if onNetwork {
				if _, err := decisions.ParseNetwork(p.args[0]); err != nil {
					return usageError{err}
				}
				r.Network = p.args[0]
			}
			r.By, r.From = operatorName(p.environ), sshClient(p.environ)
			if err := p.decide(ctx, r, *asJSON); err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			return nil
		}
	}
}

// decide sends a request and prints what it has done. If it needs force, it asks a user at a
// terminal.
func (p process) decide(ctx context.Context, r decisions.Request, asJSON bool) error {
	client, err := p.operatorClient()
	if err != nil {
		return err
	}
	var done decisions.Result
	err = p.withForce(string(r.Kind), func(force bool) error {
		r.Force = r.Force || force
		return client.PostJSON(ctx, decisions.Path, r, &done)
	})
	if err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(done)
	}
	d := done.Decision
	line := fmt.Sprintf("%s %s %s (decision %s)", d.Kind, targetOf(d), untilText(d), d.ID)
	if done.Replaced {
		line += ", in place of the former decision"
	}
	if done.Closed > 0 {
		line += "; closed " + eventlog.Count(done.Closed, "open connection")
	}
	if done.Users > 0 {
		line += "; " + decisions.UsersText(done.Users)
	}
	fmt.Fprintln(p.stdout, line)
	if done.Warning != "" {
		fmt.Fprintln(p.stdout, "warning: "+eventlog.StripControl(done.Warning))
	}
	return nil
}

// withForce calls send, and again with force if that needs it and a user at a terminal
// agrees.
func (p process) withForce(action string, send func(force bool) error) error {
	err := send(false)
	var needsForce decisions.NeedsForceError
	if !errors.As(err, &needsForce) {
		return err
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return fmt.Errorf("%w; -force does it all the same", err)
	}
	if !confirm(os.Stdin, p.stdout, fmt.Sprintf("%v; %s all the same? [y/N] ", err, action)) {
		return errors.New("nothing was changed")
	}
	return send(true)
}

// confirm asks a question and reports whether the answer is yes.
func confirm(in io.Reader, out io.Writer, question string) bool {
	fmt.Fprint(out, question)
	answer, _ := bufio.NewReader(in).ReadString('\n') // without an answer: no
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// targetOf is what d is about.
func targetOf(d decisions.Decision) string {
	if d.Network.IsValid() {
		return limiter.BlockName(d.Network)
	}
	return "verdicts"
}

// untilText says when d ends.
func untilText(d decisions.Decision) string {
	if d.Until.IsZero() {
		return "until it is ended"
	}
	return "until " + localTime(d.Until)
}

// blockedLines is how many decisions that still block are printed.
const blockedLines = 10

// prepareRelease declares the flags of `postern release`.
func prepareRelease(flags *flag.FlagSet) func(context.Context, process) error {
	asJSON := flags.Bool("json", false, "print JSON")
	return func(ctx context.Context, p process) error {
		if len(p.args) != 1 {
			return wrongUsage("got %d arguments, want one address, network or account", len(p.args))
		}
		var done decisions.Released
		if err := p.operate(ctx, decisions.ReleasePath, decisions.Release{Of: p.args[0], By: operatorName(p.environ)}, &done); err != nil {
			return fmt.Errorf("release: %w", err)
		}
		if *asJSON {
			return p.printJSON(done)
		}
		fmt.Fprintf(p.stdout, "%s: denials forgotten in %s\n", eventlog.StripControl(p.args[0]), eventlog.Count(done.Buckets, "bucket"))
		for _, d := range done.Ended {
			p.printEnded(d)
		}
		for i, d := range done.Blocked {
			if i == blockedLines {
				fmt.Fprintf(p.stdout, "and %d more: see `postern decisions`\n", len(done.Blocked)-i)
				break
			}
			fmt.Fprintf(p.stdout, "still blocked by decision %s: %s; `postern decisions -end %s` ends it, or `postern allow` wins over it\n", d.ID, targetOf(d), d.ID)
		}
		return nil
	}
}

// prepareForget declares the flags of `postern forget`.
func prepareForget(flags *flag.FlagSet) func(context.Context, process) error {
	asJSON := flags.Bool("json", false, "print JSON")
	return func(ctx context.Context, p process) error {
		if len(p.args) != 1 {
			return wrongUsage("got %d arguments, want one account", len(p.args))
		}
		var done decisions.Forgotten
		if err := p.operate(ctx, decisions.ForgetPath, decisions.Forget{Account: p.args[0], By: operatorName(p.environ)}, &done); err != nil {
			return fmt.Errorf("forget: %w", err)
		}
		switch name := eventlog.StripControl(p.args[0]); {
		case *asJSON:
			return p.printJSON(done)
		case done.Known:
			fmt.Fprintf(p.stdout, "%s: forgotten; its clients are strangers until they log in with a right password\n", name)
		default:
			fmt.Fprintf(p.stdout, "%s: nothing was known\n", name)
		}
		return nil
	}
}

// operate sends what an operator asks for, and reads the answer into v.
func (p process) operate(ctx context.Context, path string, request, v any) error {
	client, err := p.operatorClient()
	if err != nil {
		return err
	}
	return client.PostJSON(ctx, path, request, v)
}

// prepareDecisions declares the flags of `postern decisions`.
func prepareDecisions(flags *flag.FlagSet) func(context.Context, process) error {
	asJSON := flags.Bool("json", false, "print JSON")
	end := flags.String("end", "", "end the decision with this `ID`")
	format := flags.String("format", "", "print the sources that a firewall should drop, as a script for `nft|plain`: nft -f, or one a line")
	compare := flags.String("compare", "", "compare these with what a firewall has: `file` (- for standard input) with the output of nft -j, or one address a line; exit 1 if any is missing")
	return func(ctx context.Context, p process) error {
		if forFirewall := *format != "" || *compare != ""; *format != "" && *compare != "" || forFirewall && (*asJSON || *end != "") {
			return wrongUsage("got -format or -compare with another flag, want one")
		}
		var err error
		switch {
		case *end != "":
			err = p.endDecision(ctx, *end, *asJSON)
		case *format != "":
			err = p.printFirewall(ctx, *format)
		case *compare != "":
			err = p.compareFirewall(ctx, *compare)
		default:
			err = p.listDecisions(ctx, *asJSON)
		}
		if err != nil {
			return fmt.Errorf("decisions: %w", err)
		}
		return nil
	}
}

// endDecision ends one.
func (p process) endDecision(ctx context.Context, id string, asJSON bool) error {
	client, err := p.operatorClient()
	if err != nil {
		return err
	}
	var d decisions.Decision
	path := decisions.Path + "/" + url.PathEscape(id) + "?" + url.Values{"by": {operatorName(p.environ)}}.Encode()
	if err := client.Delete(ctx, path, &d); err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(d)
	}
	p.printEnded(d)
	return nil
}

// printEnded says which decision has ended.
func (p process) printEnded(d decisions.Decision) {
	fmt.Fprintf(p.stdout, "ended decision %s: %s %s, made by %s at %s\n", d.ID, d.Kind, targetOf(d), eventlog.StripControl(d.Who()), localTime(d.Made))
}

// listDecisions prints those in force, one a line.
func (p process) listDecisions(ctx context.Context, asJSON bool) error {
	client, err := p.operatorClient()
	if err != nil {
		return err
	}
	var all []decisions.Decision
	if err := client.GetJSON(ctx, decisions.Path, &all); err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(p.stdout, "no decisions")
		return nil
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tKIND\tNETWORK\tMADE\tENDS\tBY\tCOMMENT")
	for _, d := range all {
		ends := "-"
		if !d.Until.IsZero() {
			ends = "in " + rounded(time.Until(d.Until))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Kind, targetOf(d), localTime(d.Made), ends, eventlog.StripControl(d.Who()), eventlog.StripControl(d.Comment))
	}
	return t.Flush()
}
