// Package doctor examines everything that a gateway needs to work: settings,
// certificates, ports, descriptors, state directory, clock, backends, and what
// monitors it. Where a login is given, it logs in through every listener of the
// running gateway.
//
// It changes nothing and asks the running gateway only by its admin API and as a mail
// client. Its one trace are logins: those with the given account, and two at each backend
// that must fail, to measure whether Dovecot delays what comes after a failed one.
//
// What backends, servers and files say is untrusted: every text of a Finding is one
// line of printable characters.
//
// A file has the checks of one thing. backend.go checks a backend and diagnose.go finds out why
// it does not work; penalty.go measures it. login.go logs in through a listener. Both speak with
// mailconn.go.
package doctor

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/monitor"
)

// Limits on the time of a run. All checks of one run take at most examMax, those that
// ask the running gateway for its state before the others askMax of it.
const (
	examMax = 30 * time.Second
	askMax  = 4 * time.Second
)

// Level is how bad a finding is, with the value of the command's exit code.
type Level int

// The levels.
const (
	OK Level = iota
	Warning
	Failure
)

// String returns the name of the level.
func (l Level) String() string { return [...]string{"OK", "WARNING", "FAILURE"}[l] }

// MarshalText returns the name of the level.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is the result of one check.
type Finding struct {
	Level  Level  `json:"level"`
	Check  string `json:"check"`            // what was checked, such as "certificate"
	Found  string `json:"found"`            // what is the case
	Remedy string `json:"remedy,omitempty"` // what to change; empty exactly if the level is OK
}

// ok returns a Finding of that level.
func ok(check, format string, args ...any) Finding {
	return Finding{OK, check, printable(fmt.Sprintf(format, args...)), ""}
}

// warning returns a Finding of that level. found may be any text.
func warning(check, found, remedy string) Finding {
	return Finding{Warning, check, printable(found), printable(remedy)}
}

// failure returns a Finding of that level. found may be any text.
func failure(check, found, remedy string) Finding {
	return Finding{Failure, check, printable(found), printable(remedy)}
}

// textMax bounds each text of a Finding, in characters.
const textMax = 600

// printable returns s as one line that cannot steer a terminal: without control
// characters, and without those that change the direction of text or are invisible.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > textMax {
		s = string(r[:textMax-3]) + "..."
	}
	return s
}

// Options is what an examination needs.
type Options struct {
	Environ []string // as os.Environ returns it

	// User is the account that logs in through the running gateway; no login is tried if
	// it is empty. PasswordFile has its password in the first line.
	User, PasswordFile string

	roots        *x509.CertPool       // CAs that clients trust; nil for those of the system
	synchronised func() (bool, error) // whether the clock is; nil for the kernel's word
}

// examination is what the checks of one run have in common.
type examination struct {
	Options
	config   config.Config
	wrong    []error        // in the settings
	password string         // empty without a User
	running  *monitor.State // of the running gateway; nil if none answers
	noAnswer error          // why none answers
	process  process        // of the running gateway
}

// Run examines the gateway that has the settings in o.Environ. It returns an error only
// if the password cannot be read.
func Run(ctx context.Context, o Options) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, examMax)
	defer cancel()
	e := &examination{Options: o}
	var report Report
	if o.User != "" {
		var found []Finding
		var err error
		if e.password, found, err = readPassword(o.PasswordFile); err != nil {
			return nil, err
		}
		report = found
	}
	if err := e.load(ctx); err != nil {
		return nil, err
	}
	checks := []func(context.Context) []Finding{e.checkSettings}
	if !e.unreadable() {
		checks = append(checks, e.checkCertificates, e.checkPorts, e.checkDescriptors, e.checkStateDir, e.checkClock,
			e.checkBackends, e.checkLogins, e.checkAdmin, e.checkTokenFiles, e.checkKeyFile, e.checkEngine, e.checkSharing, e.checkMetrics, e.checkReceivers, e.checkStatusPage)
	}
	results := make([][]Finding, len(checks))
	var busy sync.WaitGroup
	for i, check := range checks {
		busy.Go(func() { results[i] = check(ctx) })
	}
	busy.Wait()
	return append(report, slices.Concat(results...)...), nil
}

// load reads the settings and asks the running gateway for its state.
func (e *examination) load(ctx context.Context) error {
	limit, err := config.FDLimit()
	if err != nil {
		return err
	}
	e.config, e.wrong = config.LoadAll(e.Environ, limit)
	client, err := e.client(askMax)
	if err != nil {
		e.noAnswer = err
		return nil
	}
	var state monitor.State
	if e.noAnswer = client.GetJSON(ctx, monitor.Path, &state); e.noAnswer != nil {
		return nil
	}
	e.running = &state
	if len(state.Generations) > 0 {
		e.process = findProcess(state.Generations[0].PID)
	}
	if e.process.fdLimit > 0 { // which counts, not that of this process
		e.config, e.wrong = config.LoadAll(e.Environ, e.process.fdLimit)
	}
	return nil
}

// client returns a client of the running gateway without a token.
func (e *examination) client(timeout time.Duration) (*admin.Client, error) {
	return admin.NewClient(e.config, firstOf(e.wrong), timeout)
}

// firstOf returns the first of errs, nil if there is none.
func firstOf(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}

// Report is all findings of a run, in an order that does not change.
type Report []Finding

// Worst is the level of the worst finding.
func (r Report) Worst() Level {
	worst := OK
	for _, f := range r {
		worst = max(worst, f.Level)
	}
	return worst
}

// Write writes one line for each finding.
func (r Report) Write(w io.Writer) error {
	var b strings.Builder
	for _, f := range r {
		fmt.Fprintf(&b, "%-7s  %s: %s", f.Level, f.Check, f.Found)
		if f.Remedy != "" {
			b.WriteString(". Remedy: " + f.Remedy)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the findings as an array of objects.
func (r Report) WriteJSON(w io.Writer) error {
	if r == nil {
		r = Report{}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}
