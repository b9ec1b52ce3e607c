package handover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A test with processes has three: the test starts a parent, which starts a process that runs a scenario, which starts
// others with Start. Those are children of the parent, which waits for all of them: no test leaves one.
const (
	roleVariable = "POSTERN_TEST_ROLE" // of the process that is started
	scenarioRole = "scenario "         // before the name of the scenario that the parent starts
)

// roles are what a process of a test does, by the name of the role. An error ends it with status 1.
var roles map[string]func() error

func TestMain(m *testing.M) {
	role, found := os.LookupEnv(roleVariable)
	if !found {
		os.Exit(m.Run())
	}
	var err error
	if scenario, isParent := strings.CutPrefix(role, scenarioRole); isParent {
		err = parent(scenario)
	} else {
		err = roles[role]()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// asRole returns the environment of this process for one with another role. With the race detector, a process otherwise
// waits a second before it exits.
func asRole(role string) []string {
	race := os.Getenv("GORACE") + " atexit_sleep_ms=0"
	return append(without(os.Environ(), roleVariable, "GORACE"), roleVariable+"="+role, "GORACE="+race)
}

// parent starts a process for the scenario and waits for all of its children. It writes how each ended, without the
// order.
func parent(scenario string) error {
	_, err := os.StartProcess("/proc/self/exe", os.Args[:1], &os.ProcAttr{
		Env: asRole(scenario), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return err
	}
	var ends []string
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err == syscall.ECHILD:
			slices.Sort(ends)
			fmt.Println(strings.Join(ends, " "))
			return nil
		case err != nil:
			return err
		case status.Signaled():
			ends = append(ends, status.Signal().String())
		default:
			ends = append(ends, fmt.Sprint(status.ExitStatus()))
		}
	}
}

// runScenario runs the role of that name as a child of a process of its own, and checks how all children of that ended:
// sorted exit statuses and signals.
func runScenario(t *testing.T, scenario, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = asRole(scenarioRole + scenario)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		t.Errorf("got %q and error %v, want %q", got, err, want)
	}
}

// startRole starts this program with a role, and returns the link to it. There are variables of the service manager in
// the environment.
func startRole(role string) (*Link, *os.Process, error) {
	own, theirs, err := Pair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	environ := append(asRole(role), "LISTEN_PID=1", "LISTEN_PIDFDID=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=a", "WATCHDOG_PID=1", "WATCHDOG_USEC=5")
	process, err := Start("/proc/self/exe", []string{"name", "argument"}, environ, theirs)
	if err != nil {
		return nil, nil, err
	}
	return own, process, nil
}

// linkToStarter returns the link to the process that has started this one.
func linkToStarter() (*Link, []string, error) {
	link, rest, err := FromEnviron(os.Environ())
	if err == nil && link == nil {
		err = errors.New("got no link, want one")
	}
	return link, rest, err
}

func init() {
	roles = map[string]func() error{
		"answer": answer, "describe": describe, "check description": checkDescription,
		"die": die, "receive the end": receiveEnd,
		"hang": hang, "kill the hanging": killHanging,
		"fail to start": failToStart,
		"pass on":       passOn, "middle": middle, "third": third,
		"kill the next": killNext, "be killed": beKilled,
		"sockets": printSockets,
		"first":   startAsFirst,
	}
}

// answer sends every message back, until the end.
func answer() error {
	link, _, err := linkToStarter()
	if err != nil {
		return err
	}
	for {
		m, err := link.Receive()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		err = link.Send(m.Kind, m.Payload, m.Files...)
		closeFiles(m.Files)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}

// describe sends the starter its arguments, its environment and the content of the file that it got, and a file.
func describe() error {
	link, rest, err := linkToStarter()
	if err != nil {
		return err
	}
	m, err := link.Receive()
	if err != nil {
		return err
	}
	content, err := io.ReadAll(m.Files[0])
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	rest = slices.DeleteFunc(rest, func(v string) bool {
		return !slices.ContainsFunc([]string{"LISTEN_", "WATCHDOG_", "HANDOVER_"}, func(p string) bool { return strings.HasPrefix(v, p) })
	})
	seen := fmt.Sprintf("parent %d, arguments %q, environment %q, file %q", os.Getppid(), os.Args, rest, content)
	if err := link.Send(2, []byte(seen), r); err != nil {
		return err
	}
	_, err = fmt.Fprint(w, "from the next")
	return err
}

// checkDescription starts a process that describes itself.
func checkDescription() error {
	link, process, err := startRole("describe")
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := link.Send(1, nil, r); err != nil {
		return err
	}
	fmt.Fprint(w, "from the first")
	w.Close()
	m, err := link.Receive()
	if err != nil {
		return err
	}
	want := fmt.Sprintf(`parent %d, arguments ["name" "argument"], environment ["WATCHDOG_USEC=5"], file "from the first"`, os.Getppid())
	if string(m.Payload) != want {
		return fmt.Errorf("got %s, want %s", m.Payload, want)
	}
	content, err := io.ReadAll(m.Files[0])
	if err != nil || string(content) != "from the next" {
		return fmt.Errorf("got %q from the file of the other process, and error %w", content, err)
	}
	if _, err := link.Receive(); err != io.EOF {
		return fmt.Errorf("got %v, want io.EOF", err)
	}
	if _, err := process.Wait(); err == nil {
		return errors.New("wait: got no error, want one: it is not our child")
	}
	return nil
}

func TestStartedProcessIsChildOfOurParent(t *testing.T) { runScenario(t, "check description", "0 0") }

// die ends at once.
func die() error { os.Exit(3); return nil }

// receiveEnd starts a process that ends at once. Its link is at the end, and killing it later is no error.
func receiveEnd() error {
	link, process, err := startRole("die")
	if err != nil {
		return err
	}
	if m, err := link.Receive(); err != io.EOF {
		return fmt.Errorf("got %v and %v, want io.EOF", m, err)
	}
	if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return process.Release()
}

func TestEndOfStartedProcessIsEndOfLink(t *testing.T) { runScenario(t, "receive the end", "0 3") }

// hang sends a message and then does nothing, whatever comes.
func hang() error {
	link, _, err := linkToStarter()
	if err != nil {
		return err
	}
	if err := link.Send(1, nil); err != nil {
		return err
	}
	for {
		syscall.Pause()
	}
}

// killHanging starts a process that hangs, and kills it.
func killHanging() error {
	link, process, err := startRole("hang")
	if err != nil {
		return err
	}
	if m, err := link.Receive(); err != nil || m.Kind != 1 {
		return fmt.Errorf("got %v and %w, want a message", m, err)
	}
	link.SetDeadline(past)
	if m, err := link.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("got %v and %w, want %w", m, err, os.ErrDeadlineExceeded)
	}
	link.SetDeadline(time.Time{})
	if err := process.Kill(); err != nil {
		return err
	}
	if m, err := link.Receive(); err != io.EOF {
		return fmt.Errorf("got %v and %v, want io.EOF", m, err)
	}
	return nil
}

func TestHangingProcessCanBeKilled(t *testing.T) { runScenario(t, "kill the hanging", "0 killed") }

// middle passes the link to its starter on to a third process.
func middle() error {
	link, _, err := linkToStarter()
	if err != nil {
		return err
	}
	if m, err := link.Receive(); err != nil || m.Kind != 1 {
		return fmt.Errorf("got %v and %w, want the first message", m, err)
	}
	next, _, err := startRole("third")
	if err != nil {
		return err
	}
	f, err := link.File()
	if err != nil {
		return err
	}
	link.Close()
	return next.Send(9, nil, f)
}

// third gets a link passed on, and answers there.
func third() error {
	link, _, err := linkToStarter()
	if err != nil {
		return err
	}
	m, err := link.Receive()
	if err != nil {
		return err
	}
	old, err := FromFile(m.Files[0])
	if err != nil {
		return err
	}
	m, err = old.Receive()
	if err != nil {
		return err
	}
	return old.Send(m.Kind+1, m.Payload)
}

// passOn talks to a process, and then over the same link to a third.
func passOn() error {
	link, _, err := startRole("middle")
	if err != nil {
		return err
	}
	if err := link.Send(1, nil); err != nil {
		return err
	}
	if err := link.Send(2, random(2*maxPart)); err != nil {
		return err
	}
	if m, err := link.Receive(); err != nil || m.Kind != 3 || !bytes.Equal(m.Payload, random(2*maxPart)) {
		return fmt.Errorf("got kind %d, %d octets and %w, want the answer of the third", m.Kind, len(m.Payload), err)
	}
	if m, err := link.Receive(); err != io.EOF {
		return fmt.Errorf("got %v and %v, want io.EOF", m, err)
	}
	return nil
}

func TestThirdProcessTakesOverLink(t *testing.T) { runScenario(t, "pass on", "0 0 0") }
