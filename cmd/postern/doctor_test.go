package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// reachable are the settings with which a command in another process reaches g.
func (g *gateway) reachable() []string {
	environ := append(g.Environ, prefix+"ADMIN_LISTEN="+g.admin())
	for _, name := range listenerNames {
		environ = append(environ, prefix+strings.ToUpper(name)+"_LISTEN="+g.Addr(name))
	}
	return environ
}

// TestDoctorOfHealthyGateway is a process of its own, which knows the certificate as one of
// the system's. All is OK, but for the clock of the machine and for alerts, which depend on
// neither.
func TestDoctorOfHealthyGateway(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	g := start(t, prefix+"STATE_DIR="+dir)
	password := testbed.WriteFile(t, testbed.Account.Secret)
	doctor := exec.CommandContext(t.Context(), os.Args[0], "doctor", "-json", "-user", testbed.Account.Name, "-password-file", password)
	doctor.Env = append(g.reachable(), bePostern+"=yes", "SSL_CERT_FILE="+g.CertFile, "SSL_CERT_DIR=/nowhere")
	out, err := doctor.Output()
	if code := doctor.ProcessState.ExitCode(); code > 1 {
		t.Errorf("exit %d, %v", code, err)
	}
	var findings []struct{ Level, Check, Found, Remedy string }
	if err := json.Unmarshal(out, &findings); err != nil || len(findings) < 20 {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, f := range findings {
		if f.Level != "OK" && f.Check != "clock" && f.Check != "receivers" && f.Check != "descriptors" {
			t.Errorf("got %+v", f)
		}
	}
	g.log.Await(t, "event=login", "account="+testbed.Account.Name, "result=accepted")
}

// TestDoctorExitCodes for scripts.
func TestDoctorExitCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"failures":            {nil, 2, "FAILURE  certificate /etc/postern/a.crt: open /etc/postern/a.crt: no such file or directory. Remedy: put the file there", ""},
		"as JSON":             {[]string{"-json"}, 2, "\"level\": \"FAILURE\",\n    \"check\": \"certificate /etc/postern/a.crt\"", ""},
		"unknown flag":        {[]string{"-x"}, 3, "", "flag provided but not defined: -x"},
		"argument":            {[]string{"now"}, 3, "", `got the argument "now", want none`},
		"user, no password":   {[]string{"-user", "anna"}, 3, "", `-user: got "anna" without -password-file`},
		"password, no user":   {[]string{"-password-file", "/x"}, 3, "", `-password-file: got "/x" without -user`},
		"no password file":    {[]string{"-user", "anna", "-password-file", "/no/such/file"}, 3, "", "postern doctor: read the password: open /no/such/file: no such file or directory\n"},
		"help":                {[]string{"-h"}, 0, "The exit code is 0 if all is OK, 1 after a warning, 2 after a failure, and 3 if it could not run.", ""},
		"help names the file": {[]string{"-h"}, 0, "-password-file file", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			environ := testbed.Environ(prefix+"IMAP_BACKENDS=127.0.0.1:1", prefix+"POP3_BACKENDS=127.0.0.1:2", prefix+"ADMIN_LISTEN=127.0.0.1:1")
			code := run(t.Context(), append([]string{"doctor"}, tt.args...), environ, &out, &errs)
			if code != tt.code || !strings.Contains(out.String(), tt.stdout) || !strings.Contains(errs.String(), tt.stderr) || (tt.stdout == "") != (out.Len() == 0) || (tt.stderr == "") != (errs.Len() == 0) {
				t.Errorf("exit %d, want %d\n%s%s", code, tt.code, &out, &errs)
			}
		})
	}
}

// TestBackendResetIsExplained in the log: in the line of the backend, and in that of a login
// that could not reach it, with the setting of Dovecot to change.
func TestBackendResetIsExplained(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { // like a Dovecot that does not trust the gateway
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	g := start(t, prefix+"IMAP_BACKENDS="+ln.Addr().String())
	c := g.dial(t, "imaps")
	c.Say("a LOGIN demo gatekeeper", "a NO [UNAVAILABLE]")
	remedy := []string{"haproxy_trusted_networks must contain 127.0.0.1", "`haproxy = yes`", "POSTERN_BACKEND_PROXY=off"}
	g.log.Await(t, append(remedy, "event=login", "result=refused")...)
	g.log.Await(t, append(remedy, "event=backend", "backend down")...)
	if code, out := g.command(t, "doctor"); code != 2 || !strings.Contains(out, remedy[0]) || !strings.Contains(out, "BACKEND_PROXY=off") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// TestDoctorEnds when it is interrupted.
func TestDoctorEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := run(ctx, []string{"doctor"}, testbed.Environ(), &bytes.Buffer{}, &bytes.Buffer{}); code != 2 {
		t.Errorf("exit %d, want 2", code)
	}
}
