package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"postern/bench/machine"
	"postern/bench/peer"
)

// Config says what a run is to do.
type Config struct {
	Options  Options
	Scenario []string       // names
	Only     *regexp.Regexp // works to do, by their names; nil: all but the extra ones
	Limit    time.Duration  // of the whole run
	Command  string         // how it was called, for the report
	Version  string         // of the bench

	// Targets names what the bench starts itself: postern, nginx, haproxy,
	// dovecot, or direct, which is the mail server with nothing in front.
	Targets []string
	Backend string // program that serves as mail server when called with "backend": the bench itself
	Postern string // program; built from the module if empty
	Log     bool   // targets log every login

	// Servers that run already: host:port by door, in place of Targets.
	IMAP, IMAPS, POP3, POP3S string
	Account, Password        string // the name may hold one %d
	TLS                      *tls.Config
	Announce                 bool // clients name their addresses in PROXY headers
	MyServer                 bool // it may be neither loopback nor private

	Progress func(done, total int, what string)
}

// Run does what c says. The error tells why nothing at all could be measured;
// a run that was cut short has a report.
func Run(ctx context.Context, c Config) (*Report, error) {
	works, err := c.works()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Limit, ErrTimeUp)
	defer cancel()
	report := &Report{Begun: time.Now(), Command: c.Command, Version: c.Version, Machine: machine.Describe()}
	runner := &Runner{Patience: c.Options.Patience, Progress: c.Progress}
	end := func() {}
	if c.elsewhere() {
		err = c.openElsewhere(ctx, runner, report)
	} else {
		end, err = c.openHouse(ctx, runner, report)
	}
	if err != nil {
		return nil, err
	}
	defer end()
	report.Groups = runner.Run(ctx, works)
	report.Interrupted = interrupted(ctx)
	report.Took = Duration(time.Since(report.Begun))
	report.Goals = judge(report)
	return report, nil
}

// works returns what is to be done of what the scenarios consist of.
func (c *Config) works() (works []Work, err error) {
	all, err := c.Works()
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		if c.Only == nil && !w.Extra || c.Only != nil && c.Only.MatchString(w.Name) {
			works = append(works, w)
		}
	}
	if len(works) == 0 {
		return nil, errNoWork
	}
	return works, nil
}

// errNoWork says that nothing is to be done.
var errNoWork = errors.New("no work of these scenarios has such a name; -list shows them")

// Works returns everything the scenarios consist of, the extra works too.
func (c *Config) Works() (works []Work, err error) {
	if err := c.Options.Check(); err != nil {
		return nil, err
	}
	for _, name := range c.Scenario {
		s, found := Find(name)
		if !found {
			return nil, fmt.Errorf("there is no scenario %q", name)
		}
		w, err := s.Works(&c.Options)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		works = append(works, w...)
	}
	return works, nil
}

// elsewhere reports whether the target runs already.
func (c *Config) elsewhere() bool { return c.IMAP+c.IMAPS+c.POP3+c.POP3S != "" }

// targetNames are those that can be started.
var targetNames = []string{"postern", "nginx", "haproxy", "dovecot", direct}

// openHouse prepares targets that are started for every work, and notes which
// are missing. end closes what stands around them.
func (c *Config) openHouse(ctx context.Context, r *Runner, report *Report) (end func(), err error) {
	for _, name := range c.Targets {
		if !slices.Contains(targetNames, name) {
			return nil, fmt.Errorf("there is no target %q; there are %s", name, strings.Join(targetNames, ", "))
		}
	}
	h, err := openHouse(c.Backend, c.Announce, c.Log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if c.Postern == "" && slices.Contains(c.Targets, "postern") {
		if c.Postern, err = buildPostern(ctx, h.dir); err != nil {
			return nil, err
		}
	}
	kinds := map[string]peer.Kind{}
	for _, k := range peer.Kinds(c.Postern) {
		kinds[k.Name] = k
	}
	for _, name := range c.Targets {
		k := kinds[name]
		switch {
		case name == direct:
			report.Targets = append(report.Targets, About{Name: name, About: "the mail server with nothing in front"})
		case k.Missing() != nil:
			report.Missing = append(report.Missing, k.Missing().Error())
			continue
		default:
			report.Targets = append(report.Targets, About{name, k.Version(), k.About})
		}
		r.Targets = append(r.Targets, name)
	}
	if len(r.Targets) == 0 {
		return nil, fmt.Errorf("no target is left: %s", strings.Join(report.Missing, "; "))
	}
	r.Open = func(ctx context.Context, w Work, name string) (*Target, func(), error) {
		if name == direct {
			return h.direct(w), func() {}, nil
		}
		t, p, err := h.start(ctx, kinds[name], w)
		if err != nil {
			return nil, nil, err
		}
		return t, p.Stop, nil
	}
	return h.close, nil
}

// errNoAccount says that a server elsewhere needs to be told who logs in.
var errNoAccount = errors.New("say who logs in: an account made for this, with -user, and its password in a file, with -password-file")

// buildPostern builds the gate into dir when the working directory is inside
// its module; "" when it is not.
func buildPostern(ctx context.Context, dir string) (string, error) {
	module, err := exec.CommandContext(ctx, "go", "list", "-m").Output()
	if err != nil || string(module) != "postern\n" {
		return "", nil
	}
	program := filepath.Join(dir, "postern")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "postern/cmd/postern")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build postern: %w\n%s", err, out)
	}
	return program, nil
}
