package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/bench"
)

// asBench makes the test binary run as the program.
const asBench = "POSTERN_BENCH_TEST_MAIN"

// TestMain lets the test binary run as the program, and as the processes that
// the program starts for itself: tests must never start tests.
func TestMain(m *testing.M) {
	if os.Getenv(asBench) != "" || len(os.Args) > 1 && slices.Contains([]string{"backend", "flood"}, os.Args[1]) {
		main()
		return
	}
	// Else each of these processes takes a second to end under the race detector.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	os.Exit(m.Run())
}

// command prepares a call of the program.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asBench+"=1")
	cmd.Dir = t.TempDir() // outside of the module, so that postern is not built
	return cmd
}

func TestCommandLine(t *testing.T) {
	c, err := parse([]string{"-target", "direct, nginx", "login", "-rounds", "7", "relay", "-volume", "3", "-work", "^login"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Scenario, []string{"login", "relay"}) || !slices.Equal(c.Local.Targets, []string{"direct", "nginx"}) ||
		c.Options.Rounds != 7 || c.Options.Volume != 3<<20 || c.Only == nil {
		t.Errorf("parsed: %+v", c.Config)
	}
	if c, err = parse([]string{"all"}); err != nil || len(c.Scenario) != len(bench.Scenarios) {
		t.Errorf("all: %q, %v", c.Scenario, err)
	}
	for _, bad := range [][]string{{}, {"-nonsense"}, {"login", "-rounds", "x"}, {"login", "-work", "("}, {"login", "-ca", "/none"}, {"login", "-password-file", "/none"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// At a running server attacks are smaller, unless flags say otherwise.
func TestDefaultsAtRunningServer(t *testing.T) {
	own, g := bench.Defaults().Attack, bench.GatewayDefaults().Attack
	for args, want := range map[string][]float64{
		"attack": {own.MaxRate, 3}, "attack -imaps 127.0.0.1:1": {g.MaxRate, 1}, "attack -most 50 -imaps 127.0.0.1:1 -times 2,3": {50, 2},
	} {
		c, err := parse(strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		if got := []float64{c.Options.Attack.MaxRate, float64(len(c.Options.Attack.Times))}; !slices.Equal(got, want) {
			t.Errorf("%s: got a rate and number of strengths of %v, want %v", args, got, want)
		}
	}
}

// An error is one line that says what to do.
func TestErrors(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("ann@example.org:x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"", 2, "no scenario"},
		{"jump", 1, `no scenario "jump"`},
		{"login -work nothing", 1, "-list shows them"},
		{"login -rounds 1000", 1, "-rounds: got 1000, want 1 to 100"},
		{"login -target sendmail", 1, `no target "sendmail"`},
		{"login -target postern -postern /none/postern", 1, "/none/postern"},
		{"login -imaps 127.0.0.1:1", 1, "-password-file"},
		{"attack -imaps 127.0.0.1:1", 1, "needs -users FILE"},
		{"attack -imaps 127.0.0.1:1 -users /none", 2, "-users: open /none"},
		{"attack -imaps 127.0.0.1:1 -users " + secret, 2, "line 1: want NAME:PASSWORD"},
		{"incident -imaps 127.0.0.1:1 -users " + users, 1, "nothing listens at 127.0.0.1:1"},
		{"tarpit -imaps 127.0.0.1:1 -held 0 -users " + users, 1, "-held: got 0, want 1 to"},
		{"tarpit -imaps 8.8.8.8:993 -users " + users, 1, "-i-run-this-server"},
		{"login -imaps 8.8.8.8:993 -user x -password-file " + secret, 1, "-i-run-this-server"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), strings.Fields(test.args), &out, &errs)
		if code != test.code || !strings.Contains(errs.String(), test.want) || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%s: code %d, %q", test.args, code, errs.String())
		}
	}
}

func TestHelpAndList(t *testing.T) {
	for args, want := range map[string]string{"-help": "idle ", "-help -list": "spray48, fresh48", "-list all": "login, POP3 STARTTLS, saturation  (only with -work"} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &out, &errs); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: code %d, %s%s", args, code, out.String(), errs.String())
		}
	}
}

// A short run outside of the module prints figures and writes both files.
func TestShortRun(t *testing.T) {
	dir := t.TempDir()
	page, report := filepath.Join(dir, "r.html"), filepath.Join(dir, "r.json")
	cmd := command(t, "-target", "postern,direct", "-rounds", "1", "-duration", "100ms", "-workers", "4", "-volume", "1",
		"-html", page, "-json", report, "-work", "^login, TLS, sat|^relay, TLS", "login", "relay")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Not measured: postern: missing: no program", "CPU per login, µs", "upload, MB/s"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Groups []bench.Group }
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	accepted := false
	for _, row := range r.Groups[0].Rows {
		accepted = accepted || row.Figure == "accepted" && row.Cells["direct"].Median == 100
	}
	if !accepted {
		t.Errorf("got %+v, want 100 %% accepted", r.Groups[0].Rows)
	}
	if html, err := os.ReadFile(page); err != nil || !bytes.Contains(html, []byte("<svg")) {
		t.Errorf("page: %v", err)
	}
}

// The error of a process of the bench says which process it is.
func TestSubprocessErrors(t *testing.T) {
	for _, args := range [][]string{{"flood", "{}"}, {"flood", "nonsense"}, {"backend", "/none", "/none"}} {
		out, err := command(t, args...).CombinedOutput()
		if want := map[string]string{"flood": "clients of a flood: ", "backend": "mail server: "}[args[0]]; err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
}

// Ctrl-C ends a run: it prints the figures it has, and leaves no process and no
// folder.
func TestInterrupt(t *testing.T) {
	cmd := command(t, "-target", "direct", "-rounds", "3", "-duration", "200ms", "-workers", "2", "-work", "^login, plain, sat|^idle", "login", "idle")
	tmp := t.TempDir()
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var children []string
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(children) == 0 && ctx.Err() == nil {
		children = childrenOf(t, cmd.Process.Pid)
		<-time.After(10 * time.Millisecond)
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "incomplete: interrupted by the user") {
		t.Errorf("output:\n%s", out.String())
	}
	for _, child := range children {
		if _, err := os.Stat("/proc/" + child); err == nil {
			t.Errorf("process %s still runs", child)
		}
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("files remain: %v", left)
	}
}

// childrenOf returns the ids of the children of a process.
func childrenOf(t *testing.T, pid int) (ids []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stats {
		stat, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			ids = append(ids, filepath.Base(filepath.Dir(file)))
		}
	}
	return ids
}
