//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"
)

// programPatience bounds the run of a program. Some take long to start on a busy
// machine.
const programPatience = time.Minute

// mailProgram is a mail program as people use it. It puts what it reads on
// standard output or below the folder mail of its home.
type mailProgram struct {
	name, debian string // of the program and of its package
	doors        []string
	config       string // the file of testdata/clients that configures it, if any does
	binds        bool   // it can be told which address to come from
	command      func(v visit) []string
	// Exit codes for a wrong password and for a refusal by a limit, by protocol.
	denied, refused map[string]int
}

// Doors of mail programs that know no POP3, and of those that know no STARTTLS.
var (
	imapDoors = []string{"imap", "imaps"}
	tlsDoors  = []string{"imaps", "pop3s"}
)

var (
	curl = mailProgram{
		name: "curl", debian: "curl", doors: doorNames, binds: true, command: curlCommand,
		denied: map[string]int{"IMAP": 67, "POP3": 67}, refused: map[string]int{"IMAP": 67, "POP3": 67},
	}
	mbsync = mailProgram{
		name: "mbsync", debian: "isync", doors: imapDoors, config: "mbsyncrc",
		command: func(v visit) []string { return []string{"mbsync", "-V", "-c", v.Config, "inbox"} },
		denied:  map[string]int{"IMAP": 1}, refused: map[string]int{"IMAP": 1},
	}
	fetchmail = mailProgram{
		name: "fetchmail", debian: "fetchmail", doors: doorNames, config: "fetchmailrc",
		command: func(v visit) []string {
			return []string{"fetchmail", "-v", "-f", v.Config, "-i", v.Home + "/ids", "--pidfile", v.Home + "/pid"}
		},
		// 3 asks for another password, 9 is temporary.
		denied: map[string]int{"IMAP": 3, "POP3": 3}, refused: map[string]int{"IMAP": 3, "POP3": 9},
	}
	getmail = mailProgram{
		name: "getmail", debian: "getmail6", doors: tlsDoors, config: "getmailrc",
		command: func(v visit) []string { return []string{"getmail", "--getmaildir", v.Home, "--rcfile", v.Config} },
		denied:  map[string]int{"IMAP": 127, "POP3": 127}, refused: map[string]int{"IMAP": 0, "POP3": 127},
	}
	neomutt = mailProgram{
		name: "neomutt", debian: "neomutt", doors: doorNames, config: "neomuttrc", command: neomuttCommand,
	}
	offlineimap = mailProgram{
		// Not by STARTTLS: the reader thread of its imaplib2 may end one line too early and then waits for ever.
		name: "offlineimap", debian: "offlineimap3", doors: []string{"imaps"}, config: "offlineimaprc",
		command: func(v visit) []string { return []string{"offlineimap", "-o", "-u", "basic", "-c", v.Config} },
		denied:  map[string]int{"IMAP": 1}, refused: map[string]int{"IMAP": 1},
	}
	python = mailProgram{
		name: "python3", debian: "python3", doors: doorNames, binds: true, command: pythonCommand,
		denied: map[string]int{"IMAP": 1, "POP3": 1}, refused: map[string]int{"IMAP": 1, "POP3": 1},
	}
)

// curlCommand reads the first three messages.
func curlCommand(v visit) []string {
	folder := ""
	if v.Protocol == "IMAP" {
		folder = "INBOX;MAILINDEX="
	}
	args := []string{"curl", "-sSv", "--fail-early", "--ssl-reqd", "--cacert", v.CA, "-4", "--interface", v.Source}
	switch v.Mechanism {
	case "":
		args = append(args, "--user", v.User+":"+v.Secret)
	case "OAUTHBEARER":
		args = append(args, "--user", v.User+":", "--oauth2-bearer", v.Secret)
	default:
		args = append(args, "--user", v.User+":"+v.Secret, "--login-options", "AUTH="+v.Mechanism)
	}
	return append(args, fmt.Sprintf("%s://localhost:%s/%s[1-3]", v.door, v.Port, folder))
}

// neomuttCommand runs neomutt on a terminal, which it needs. Its configuration
// presses the keys.
func neomuttCommand(v visit) []string {
	url := fmt.Sprintf("%s://%s@localhost:%s/", strings.Replace(v.door, "pop3", "pop", 1), v.User, v.Port)
	if v.Protocol == "IMAP" {
		url += "INBOX"
	}
	return []string{"script", "-qec", fmt.Sprintf("neomutt -n -F %s -R -f %s", v.Config, url), "/dev/null"}
}

// pythonCommand runs a script that uses imaplib or poplib.
func pythonCommand(v visit) []string {
	method := v.Mechanism
	if method == "" {
		method = "LOGIN"
	}
	args := []string{"python3", v.testdata(strings.ToLower(v.Protocol) + ".py"), method, v.Source, v.Port, fmt.Sprint(v.Implicit), v.CA, v.User}
	return append(args, append(v.wrong, v.Secret)...)
}

// visit is one run of a mail program against a door. What is exported stands in
// the program's configuration.
type visit struct {
	Port, CA, Source string
	User, Secret     string
	Protocol         string // IMAP or POP3
	Implicit         bool   // TLS from the start
	Mechanism        string // of SASL; if empty the program's choice
	Home, Config     string // where the program lives
	door, folder     string
	wrong            []string // what python tries before the right password
}

// visitTo prepares a visit of the account user, who has mail, to the door at
// addr, which shows the certificate in the file ca.
func visitTo(t *testing.T, door, addr, ca string) visit {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs("testdata/clients")
	if err != nil {
		t.Fatal(err)
	}
	return visit{
		Port: port, CA: ca, Source: "127.0.0.1", User: "user", Secret: "pass",
		Protocol: strings.ToUpper(strings.TrimSuffix(door, "s")), Implicit: strings.HasSuffix(door, "s"),
		door: door, folder: folder,
	}
}

func (v visit) testdata(name string) string { return filepath.Join(v.folder, name) }

// ran is how a mail program ended, and all that it printed and stored, with LF
// for CRLF.
type ran struct {
	code int
	text string
}

// run runs p to its end, in a home of its own that is empty but for its
// configuration.
func (v visit) run(t *testing.T, p mailProgram) ran {
	t.Helper()
	p.need(t)
	v.Home = t.TempDir()
	if err := os.Mkdir(filepath.Join(v.Home, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	if p.config != "" {
		v.Config = filepath.Join(v.Home, p.config)
		var text bytes.Buffer
		if err := template.Must(template.ParseFiles(v.testdata(p.config))).Execute(&text, v); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(v.Config, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := runProgram(t, v.Home, p.command(v)...)
	r.text += stored(t, filepath.Join(v.Home, "mail"))
	return r
}

// need skips the test where p is not installed, or fails it where nothing may be
// missing.
func (p mailProgram) need(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(p.name); err != nil {
		absent(t, p.name+" (Debian package "+p.debian+")")
	}
}

// runProgram runs a program that must end by itself, Debian's before others of
// that name.
func runProgram(t *testing.T, home string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=xterm"}
	if debians, err := exec.LookPath("/usr/bin/" + args[0]); err == nil {
		cmd.Path = debians
	}
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%q: %v\n%s", args, err, text)
	}
	return ran{cmd.ProcessState.ExitCode(), strings.ReplaceAll(string(text), "\r\n", "\n")}
}

// stored returns the contents of every file below a folder.
func stored(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(all.String(), "\r\n", "\n")
}
