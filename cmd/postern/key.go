package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/daemon"
)

// keyHelp says what the key is for.
const keyHelp = `make the key file that gateways share:

Writes the install key of this gateway to FILE, as 64 hex digits, or a new key if it has none yet. FILE - prints it. Gateways
that share (POSTERN_SHARE_URL) need the same key, and understand nothing that was learned under another one: run this on the
gateway that has learned most, with the settings of postern, as root or as the user of postern. An existing FILE is not
replaced.`

// prepareKey prepares `postern key`.
func prepareKey(*flag.FlagSet) func(context.Context, process) error {
	return func(_ context.Context, p process) error {
		if len(p.args) != 1 {
			return wrongUsage("got %d files, want 1; - prints the key", len(p.args))
		}
		if err := p.makeKey(p.args[0]); err != nil {
			return fmt.Errorf("make the key file: %w", err)
		}
		return nil
	}
}

// makeKey writes the key to path and prints what to do next, or prints the key if path is -.
func (p process) makeKey(path string) error {
	c, err := config.Load(p.environ)
	if err != nil && strings.HasPrefix(err.Error(), config.Prefix+"ENV_FILE") { // other settings may be wrong: KEY_FILE is missing yet
		return err
	}
	key, source, err := daemon.CurrentKey(&c)
	if err != nil {
		return err
	}
	if source == "" {
		rand.Read(key[:])
	}
	text := hex.EncodeToString(key[:]) + "\n"
	if path == "-" {
		_, err := fmt.Fprint(p.stdout, text)
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	if err := writeKey(path, text, string(c.State.Dir)); err != nil {
		return err
	}
	if source == "" {
		fmt.Fprintf(p.stdout, "%s has a new key: this gateway has none yet", path)
	} else {
		fmt.Fprintf(p.stdout, "%s has the key in %s: nothing that this gateway has learned is lost", path, source)
	}
	fmt.Fprintf(p.stdout, `

Next, at this gateway and at each other one:
  1. copy the file there, encrypted on the way, as with scp -p; only the user of postern may read it
  2. set %[1]sKEY_FILE=%[2]s, and %[1]sSHARE_URL
  3. restart postern; at this gateway an upgrade is enough
Other gateways forget what they learned under keys of their own, and learn from this one what it knows.
`, config.Prefix, path)
	return nil
}

// writeKey makes the file at path, which must not exist yet. If this process runs as root, it belongs to the owner of the directory stateDir.
func writeKey(path, text, stateDir string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already, want a file that does not", path)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if info, statErr := os.Stat(stateDir); err == nil && statErr == nil && os.Geteuid() == 0 {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			err = f.Chown(int(owner.Uid), int(owner.Gid))
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
