package main

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
)

// load reads the settings from environ (as os.Environ gives it) and from the
// dotenv file it may name, and checks them against each other. fdLimit is the
// number of file descriptors this process may have.
//
// The error is one line that names the variable and says what it takes. Even
// then the Config holds the text of every setting, so that it can be shown.
func load(environ []string, fdLimit uint64) (Config, error) {
	c := Config{values: defaultValues()}
	vars := own(environ)
	if path := vars["ENV_FILE"]; path != "" {
		fromFile, err := readEnvFile(path)
		if err != nil {
			return c, fmt.Errorf("%sENV_FILE: %w", prefix, err)
		}
		c.overridden = merge(vars, fromFile)
	}
	if err := refuseUnknown(vars); err != nil {
		return c, err
	}
	if err := c.parse(vars); err != nil {
		return c, err
	}
	return c, c.check(fdLimit)
}

// own returns the variables of environ that begin with the prefix, by their
// names without it.
func own(environ []string) map[string]string {
	vars := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if name, ok := strings.CutPrefix(name, prefix); ok {
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
			overridden = append(overridden, prefix+name)
		}
	}
	return overridden
}

// parse fills c from vars. Every text is kept in c.values before it is read.
func (c *Config) parse(vars map[string]string) error {
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

// parsers gives the kinds in the form the env package takes.
func parsers() map[reflect.Type]env.ParserFunc {
	fns := map[reflect.Type]env.ParserFunc{}
	for typ, k := range kinds {
		if k.parse != nil {
			fns[typ] = k.parse
		}
	}
	return fns
}

// explain turns the first complaint of the env package into the line an
// operator reads.
func (c *Config) explain(err error) error {
	var bad env.ParseError
	if !errors.As(err, &bad) {
		return err
	}
	for _, s := range settings() {
		if s.field == bad.Name && s.typ == bad.Type {
			return fmt.Errorf("%s%s: %q: takes %s", prefix, s.Name, c.values[s.Name], s.Takes())
		}
	}
	return err
}

// refuseUnknown complains of the first variable, by name, that is no setting.
func refuseUnknown(vars map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if isSetting(name) {
			continue
		}
		hint := "`postern config` lists the settings"
		if near := nearest(name); near != "" {
			hint = "did you mean " + prefix + near + "?"
		}
		return fmt.Errorf("%s%s: is not a setting; %s", prefix, printable(name, errorMax), hint)
	}
	return nil
}
