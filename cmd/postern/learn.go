package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/daemon"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/learn"
	"postern/cmd/postern/internal/loginlog"
)

// learnHelp says what can be learned from.
const learnHelp = `learn users and usual traffic from logs of the past:

Reads Dovecot's login log (2.3 or 2.4; syslog, Dovecot's own file, journalctl -o short, short-iso, json or export) or
postern's own, plain or compressed with gzip or zstd. FILE - is standard input. Name all files of the last weeks, of all
mail servers, in any sequence, in one run. What is learned is merged with what is known already, whether postern runs or not.
Set EXEMPT for webmail and monitoring before. Run it as root or as the user of postern, with the settings of postern.`

// learnFlags are the flags of `postern learn`.
type learnFlags struct {
	dryRun bool
	since  time.Duration
}

// prepareLearn declares the flags of `postern learn`.
func prepareLearn(flags *flag.FlagSet) func(context.Context, process) error {
	var f learnFlags
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would be learned, and change nothing")
	flags.DurationVar(&f.since, "since", 0, "leave out logins older than this `duration`, such as 672h")
	return func(ctx context.Context, p process) error {
		if len(p.args) == 0 {
			return wrongUsage("got no file, want at least one; - is standard input")
		}
		if f.since < 0 {
			return wrongUsage("-since: got %v, want a duration above zero", f.since)
		}
		if err := p.learn(ctx, f); err != nil {
			return fmt.Errorf("learn: %w", err)
		}
		return nil
	}
}

// learn reads the logs, prints a summary, and merges what was learned with what is known.
func (p process) learn(ctx context.Context, f learnFlags) error {
	c, err := config.Load(p.environ)
	if err != nil {
		return err
	}
	log := eventlog.New(p.stderr, "text", c.Log.SlogLevel())
	o := learn.Options{
		Policy: c.Limits.Policy(c.Tarpit.Max), Exempt: c.Limits.IsExempt, Location: time.Local, Now: time.Now(), Since: f.since,
	}
	if !f.dryRun { // any key gives the same summary
		if o.Key, err = daemon.InstallKey(&c, log); err != nil {
			return err
		}
		o.WatchKey = daemon.DetectorKey(o.Key)
	}
	result, stats, err := p.replay(ctx, o)
	if err != nil {
		return err
	}
	p.printSummary(stats, result.Summary)
	switch {
	case result.Summary.Accepted == 0:
		return errors.New("got no accepted login, want a login log of Dovecot or of postern; nothing was learned")
	case f.dryRun:
		fmt.Fprintln(p.stdout, "nothing was changed (-dry-run)")
		return nil
	}
	known, err := p.merge(ctx, &c, log, admin.Learned{Known: result.Known, Watch: result.Watch})
	if err != nil {
		return err
	}
	p.printKnowledge(known)
	return nil
}

// replay reads the logs.
func (p process) replay(ctx context.Context, o learn.Options) (*learn.Result, loginlog.Stats, error) {
	r, err := loginlog.Open(p.args, loginlog.Options{Stdin: os.Stdin, Location: o.Location, Now: o.Now})
	if err != nil {
		return nil, loginlog.Stats{}, err
	}
	defer r.Close()
	bar := newLogBar(p.stderr, r)
	defer bar.clear()
	next := func() (loginlog.Event, error) {
		if err := ctx.Err(); err != nil {
			return loginlog.Event{}, err
		}
		return r.Next()
	}
	result, err := learn.Replay(next, o, bar.show)
	return result, r.Stats(), err
}

// merge merges what was learned with what is known: in the state directory, or in the gateway that uses it.
func (p process) merge(ctx context.Context, c *config.Config, log *eventlog.Log, learned admin.Learned) (k admin.Knowledge, err error) {
	if k, err = daemon.Learn(c, log, time.Now(), learned); !errors.Is(err, daemon.ErrInUse) {
		return k, err
	}
	client, err := admin.NewOperatorClient(*c, nil, operatorTimeout)
	if err != nil {
		return k, err
	}
	if err := client.PostJSON(ctx, admin.LearnPath, learned, &k); err != nil {
		return k, fmt.Errorf("hand over to the postern that runs: %w", err)
	}
	return k, nil
}

// printSummary prints what the logs have.
func (p process) printSummary(lines loginlog.Stats, s learn.Summary) {
	fmt.Fprintf(p.stdout, "lines       %d, of which %d are about logins and %d were not understood\n", lines.Lines, lines.Logins, lines.Obscure)
	for _, e := range lines.Examples {
		fmt.Fprintf(p.stdout, "            %s:%d: %s\n", e.File, e.Line, strconv.QuoteToASCII(e.Text))
	}
	fmt.Fprintf(p.stdout, "logins      %d accepted, %d denied, %d failed for another reason\n", s.Accepted, s.Denied, s.Faults)
	if s.Exempt+s.Old+s.Late > 0 {
		fmt.Fprintf(p.stdout, "left out    %d lines from EXEMPT addresses, %d too old, %d too far out of order (for what is usual)\n", s.Exempt, s.Old, s.Late)
	}
	if s.Accepted+s.Denied+s.Faults == 0 {
		return
	}
	fmt.Fprintf(p.stdout, "users       %d accounts, in %d networks\n", s.Accounts, s.Networks)
	fmt.Fprintf(p.stdout, "time        %.1f weeks, from %s to %s\n", s.Last.Sub(s.First).Hours()/(7*24), localTime(s.First), localTime(s.Last))
	fmt.Fprintf(p.stdout, "usual       known for %.0f %% of the week; %v of attack not learned\n", 100*s.Week, s.Attack.Round(time.Minute))
	if !s.Reserve {
		fmt.Fprintln(p.stdout, "            less than a day of logins: nothing is reserved for known users until a day has passed")
	}
}

// printKnowledge prints what the gateway knows after the merge.
func (p process) printKnowledge(k admin.Knowledge) {
	reserve := "enforced"
	if !k.Reserve {
		reserve = "not enforced until the first login is a day old"
	}
	fmt.Fprintf(p.stdout, "postern now knows %d accounts, and what is usual for %.0f %% of the week; the reserve for known users is %s\n", k.Accounts, 100*k.Week, reserve)
}

// A logBar shows on a terminal how much of the logs is read, and nothing elsewhere.
type logBar struct {
	*progressbar.ProgressBar
	logs *loginlog.Reader
}

// newLogBar writes to w if that is a terminal.
func newLogBar(w io.Writer, logs *loginlog.Reader) *logBar {
	b := &logBar{logs: logs}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return b
	}
	_, total := logs.Progress()
	if total == 0 {
		total = -1 // standard input: how much there is cannot be known
	}
	b.ProgressBar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(24), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription("reading logs"), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish())
	return b
}

// show shows the present progress.
func (b *logBar) show() {
	if b.ProgressBar != nil {
		read, _ := b.logs.Progress()
		_ = b.Set64(read)
	}
}

// clear removes the bar.
func (b *logBar) clear() {
	if b.ProgressBar != nil {
		_ = b.Clear()
	}
}
