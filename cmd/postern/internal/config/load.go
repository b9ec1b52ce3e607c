package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/caarlos0/env/v11"

	"postern/cmd/postern/internal/eventlog"
)

// Load reads the settings from environ (as os.Environ returns it) and from the
// dotenv file that it may name, and checks them against each other and against
// the limit of file descriptors of this process.
//
// The error is one line that names the variable, what it got and what it wants.
// Even then the Config holds the text of every setting, so that it can be shown.
func Load(environ []string) (Config, error) {
	limit, err := FDLimit()
	if err != nil {
		return Config{}, err
	}
	return load(environ, limit)
}

// FDLimit is how many file descriptors this process may have.
func FDLimit() (uint64, error) {
	// The Go runtime has raised the soft limit to the hard one already.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of file descriptors: %w", err)
	}
	return limit.Cur, nil
}

// load is Load with a given limit of file descriptors.
func load(environ []string, fdLimit uint64) (Config, error) {
	c, wrong := LoadAll(environ, fdLimit)
	if len(wrong) > 0 {
		return c, wrong[0]
	}
	return c, nil
}

// LoadAll is Load for a process that may have fdLimit file descriptors, with every
// error instead of the first. Settings that are correct have their values even if
// others are wrong, unless ENV_FILE cannot be read.
func LoadAll(environ []string, fdLimit uint64) (c Config, wrong []error) {
	c.values = defaultValues()
	vars := withPrefix(environ)
	if path := vars["ENV_FILE"]; path != "" {
		fromFile, err := readEnvFile(path)
		if err != nil {
			return c, []error{Errorf("ENV_FILE", "%w", err)}
		}
		c.overridden = merge(vars, fromFile)
	}
	wrong = slices.Concat(unknownNames(vars), c.parse(vars))
	if c.values["STATE_DIR"] == "" {
		c.State.Dir = defaultStateDir(environ, systemState)
	}
	if c.values["SIEVE_LISTEN"] == "" && len(c.Backend.Sieve) > 0 {
		c.Listeners.Sieve = listenAddrs{sieveListen}
	}
	if c.values["GATEWAY"] == "" {
		host, _ := os.Hostname() // without it there is another default
		c.Share.Gateway = defaultGateway(host)
	}
	if len(wrong) > 0 {
		return c, wrong // what is missing could be what is wrong
	}
	return c, c.check(fdLimit)
}

// Errorf returns an error about the setting name, which is without the prefix.
func Errorf(name, format string, args ...any) error {
	return fmt.Errorf("%s%s: %w", Prefix, name, fmt.Errorf(format, args...))
}

// withPrefix returns the variables of environ that begin with the prefix, by
// their names without it.
func withPrefix(environ []string) map[string]string {
	vars := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if name, ok := strings.CutPrefix(name, Prefix); ok {
			vars[name] = strings.TrimSpace(value)
		}
	}
	return vars
}

// merge adds the variables of the dotenv file that vars does not have, and
// names the others whose values differ.
func merge(vars, fromFile map[string]string) (overridden []string) {
	for _, name := range slices.Sorted(maps.Keys(fromFile)) {
		value, set := vars[name]
		switch {
		case !set:
			vars[name] = fromFile[name]
		case value != fromFile[name]:
			overridden = append(overridden, Prefix+name)
		}
	}
	return overridden
}

// parse fills c from vars, and returns an error for each value that is wrong. Every
// text is kept in c.values before it is parsed.
func (c *Config) parse(vars map[string]string) []error {
	environment := map[string]string{}
	for _, s := range settings() {
		value, set := vars[s.Name]
		if set && value == "" {
			value = s.Blank
		}
		if set && value != "" {
			environment[s.Name] = value
			c.values[s.Name] = value
		}
	}
	err := env.ParseWithOptions(c, env.Options{Environment: environment, FuncMap: parsers()})
	return c.explain(err)
}

// parsers gives the kinds in the form that the env package takes.
func parsers() map[reflect.Type]env.ParserFunc {
	fns := map[reflect.Type]env.ParserFunc{}
	for typ, k := range kinds {
		if k.parse != nil {
			fns[typ] = k.parse
		}
	}
	return fns
}

// explain turns the errors of the env package into the lines an operator reads.
func (c *Config) explain(err error) (wrong []error) {
	var all env.AggregateError
	if !errors.As(err, &all) {
		if err != nil {
			wrong = append(wrong, err)
		}
		return wrong
	}
	for _, err := range all.Errors {
		wrong = append(wrong, c.explainOne(err))
	}
	return wrong
}

// explainOne is explain for one error.
func (c *Config) explainOne(err error) error {
	var bad env.ParseError
	if !errors.As(err, &bad) {
		return err
	}
	for _, s := range settings() {
		if s.field == bad.Name && s.typ == bad.Type {
			if detail, ok := errors.AsType[detailError](bad.Err); ok {
				return Errorf(s.Name, "%w", detail.error)
			}
			return Errorf(s.Name, "got %q, want %s", c.values[s.Name], s.Want())
		}
	}
	return err
}

// unknownNames returns an error for each variable, by name, that is no setting.
func unknownNames(vars map[string]string) (wrong []error) {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if _, ok := find(name); !ok {
			wrong = append(wrong, unknown(name))
		}
	}
	return wrong
}

// unknown is the error for a name, without the prefix, that is no setting.
func unknown(name string) error {
	hint := "`postern config` lists the settings"
	if near := nearest(name); near != "" {
		hint = "did you mean " + Prefix + near + "?"
	}
	return fmt.Errorf("%s%s: unknown setting; %s", Prefix, eventlog.Printable(name, eventlog.ErrorMax), hint)
}

// Update takes over the values of next that can change without a restart. It
// names the settings that changed, by whether they can.
func (c *Config) Update(next Config) (live, restart []string) {
	live, restart = []string{}, []string{}
	for _, s := range settings() {
		switch {
		case next.values[s.Name] == c.values[s.Name]:
		case s.Live:
			live = append(live, Prefix+s.Name)
			c.values[s.Name] = next.values[s.Name]
		default:
			restart = append(restart, Prefix+s.Name)
		}
	}
	return live, restart
}
