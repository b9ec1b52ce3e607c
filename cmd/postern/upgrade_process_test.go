//go:build linux

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
	"postern/proxy/standin"
)

// supervisor runs a gateway like a service manager: every generation is a process of its
// own and a child of the test.
type supervisor struct {
	dir      string // of what it has in files
	program  string // path that is started: a link to this program, until a test replaces it
	state    string // STATE_DIR
	cert     *standin.Certificate
	mail     *mailServer       // nil if the backend is another
	log      *testbed.Log      // of all generations
	ip       string            // of every listener; each gateway has an address of its own
	ports    map[string]string // by listener
	settings map[string]string // in the file that ENV_FILE names, without the prefix
	environ  []string          // of the process
	within   []string          // command that runs the program, such as in a network namespace; empty if there is none

	group int           // process group of all generations
	ended chan struct{} // closed when none is left
}

// supervisorPorts are the ports of the listeners. They are below those that the system
// gives to clients.
var supervisorPorts = map[string]string{"imap": "1143", "imaps": "1993", "metrics": "1144"}

// supervisors counts them, to give each gateway an address of its own.
var supervisors atomic.Int32

// newSupervisor prepares a gateway in front of a stand-in mail server with these
// accounts, as well as that of testbed. It does not start it. Settings in more are
// pairs of name and value.
func newSupervisor(t *testing.T, accounts []standin.Account, more ...string) *supervisor {
	t.Helper()
	mail := newMailServer(t, accounts)
	ip := fmt.Sprintf("127.%d.%d.%d", 128+supervisors.Add(1)%64, os.Getpid()>>8&0xff, os.Getpid()&0xff)
	s := newSupervisorAt(t, ip, testbed.NewCertificate(t), mail.Addr().String(), more...)
	s.mail = mail
	return s
}

// newSupervisorAt is newSupervisor for listeners at ip and the IMAP server at backend.
func newSupervisorAt(t *testing.T, ip string, cert *standin.Certificate, backend string, more ...string) *supervisor {
	t.Helper()
	s := &supervisor{dir: t.TempDir(), cert: cert, ip: ip, log: testbed.NewLog(), ports: maps.Clone(supervisorPorts)}
	s.program, s.state = filepath.Join(s.dir, "postern"), filepath.Join(s.dir, "state")
	crt, key, err := s.cert.Write(s.dir, "postern")
	if err != nil {
		t.Fatal(err)
	}
	s.settings = map[string]string{
		"IMAP_BACKENDS": backend, "POP3_LISTEN": "off", "POP3S_LISTEN": "off",
		"IMAP_LISTEN": s.addr("imap"), "IMAPS_LISTEN": s.addr("imaps"), "ADMIN_LISTEN": "unix:" + filepath.Join(s.dir, "admin"), "METRICS_LISTEN": s.addr("metrics"),
		"TLS_CERT": crt, "TLS_KEY": key, "STATE_DIR": s.state, "LOG_FORMAT": "text", "CLEARTEXT_LOGIN": "true",
	}
	s.set(t, more...)
	t.Cleanup(func() {
		for _, crash := range []string{"WARNING: DATA RACE", "\npanic: ", "\nfatal error: "} {
			if strings.Contains(s.log.String(), crash) {
				t.Errorf("%s in the log", strings.TrimSpace(crash))
			}
		}
		if t.Failed() {
			t.Logf("log of the gateway, without clients:\n%s", s.logWithoutClients())
		}
	})
	s.environ = []string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), bePostern + "=yes", prefix + "ENV_FILE=" + filepath.Join(s.dir, "settings")}
	s.install(t, "")
	return s
}

// set changes settings, pairs of name and value, for the next generation.
func (s *supervisor) set(t *testing.T, pairs ...string) {
	t.Helper()
	for pair := range slices.Chunk(pairs, 2) {
		s.settings[pair[0]] = pair[1]
	}
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(s.settings)) {
		fmt.Fprintf(&text, "%s%s=%s\n", prefix, name, s.settings[name])
	}
	replaceFile(t, filepath.Join(s.dir, "settings"), text.Bytes(), 0o600)
}

// install makes the next generation run a shell script or, if that is empty, this
// program. In the script, $0 is the path of the script and $REAL this program.
func (s *supervisor) install(t *testing.T, script string) {
	t.Helper()
	real, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if script != "" {
		replaceFile(t, s.program, fmt.Appendf(nil, "#!/bin/bash\nREAL=%s\n%s\n", real, script), 0o755)
		return
	}
	link := s.program + ".new"
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, s.program); err != nil {
		t.Fatal(err)
	}
}

// replaceFile replaces a file atomically.
func replaceFile(t *testing.T, path string, content []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// addr is the address of a listener.
func (s *supervisor) addr(listener string) string {
	return net.JoinHostPort(s.ip, s.ports[listener])
}

// start starts a generation that nothing is handed over to: the first, or one that
// follows after a crash. It waits until that accepts connections. What still runs ends
// with the test.
func (s *supervisor) start(t *testing.T) {
	t.Helper()
	if !s.tryStart(t) {
		t.Fatal("ended at the start")
	}
}

// tryStart is start, and reports whether that succeeded.
func (s *supervisor) tryStart(t *testing.T) bool {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	started := s.logged("event=start")
	command := append(slices.Clone(s.within), s.program)
	first := exec.Command(command[0], command[1:]...)
	first.Env, first.Stderr = s.environ, write
	first.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.isRunning() {
		first.SysProcAttr.Pgid = s.group
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	pid := first.Process.Pid
	if !s.isRunning() {
		s.group, s.ended = pid, make(chan struct{})
		go reap(s.group, s.ended)
	}
	_ = first.Process.Release() // reap waits for it
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		defer read.Close()
		_, _ = io.Copy(s.log, read)
	}()
	group, ended := s.group, s.ended
	t.Cleanup(func() {
		killGroup(group, ended)
		write.Close()
		<-copied
	})
	serves := false
	await(t, "the start", func() bool {
		serves = s.logged("event=start") > started
		return serves || !slices.Contains(s.generations(t), pid)
	})
	return serves
}

// isRunning reports whether there are processes.
func (s *supervisor) isRunning() bool {
	select {
	case <-s.ended:
		return false
	default:
		return s.ended != nil
	}
}

// logged returns how many lines of the log have all parts.
func (s *supervisor) logged(parts ...string) (n int) {
	for line := range strings.Lines(s.log.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			n++
		}
	}
	return n
}

// logWithoutClients is the log without the lines about single clients, of which there are
// many.
func (s *supervisor) logWithoutClients() string {
	return s.logLines(func(line string) bool { return !strings.Contains(line, " rip=127.") })
}

// logLines are the lines of the log for which has returns true.
func (s *supervisor) logLines(has func(line string) bool) (text string) {
	for line := range strings.Lines(s.log.String()) {
		if has(line) {
			text += line
		}
	}
	return text
}

// killGroup ends the processes of a group.
func killGroup(group int, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		default:
		}
		_ = syscall.Kill(-group, syscall.SIGKILL) // again and again: a process may have been about to start another
		select {
		case <-ended:
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// reap waits for the processes of a group, which must be children of this process,
// until there is none. Then it closes ended.
func reap(group int, ended chan<- struct{}) {
	defer close(ended)
	for {
		if _, err := syscall.Wait4(-group, nil, 0, nil); err != nil && err != syscall.EINTR {
			return
		}
	}
}

// generations returns the IDs of the processes that run, the oldest first.
func (s *supervisor) generations(t *testing.T) (pids []int) {
	t.Helper()
	proc, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	started := map[int]uint64{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if group, err := syscall.Getpgid(pid); err != nil || group != s.group { // cheaper than to read a file of every process
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", name, "stat"))
		if err != nil {
			continue // the process has ended
		}
		// The fields after the program's name, which is in brackets: state, parent,
		// group, ... proc_pid_stat(5) counts from 1, and state is 3.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		started[pid], _ = strconv.ParseUint(fields[22-3], 10, 64)
		pids = append(pids, pid)
	}
	slices.SortFunc(pids, func(a, b int) int { return cmp.Or(cmp.Compare(started[a], started[b]), a-b) })
	return pids
}

// mainProcess is the newest generation.
func (s *supervisor) mainProcess(t *testing.T) int {
	t.Helper()
	all := s.generations(t)
	if len(all) == 0 {
		t.Fatal("no process is left")
	}
	return all[len(all)-1]
}

// signal sends a signal to one generation.
func (s *supervisor) signal(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("%v to process %d: %v", sig, pid, err)
	}
}

// awaitGenerations waits until exactly n processes run.
func (s *supervisor) awaitGenerations(t *testing.T, n int) []int {
	t.Helper()
	var all []int
	await(t, fmt.Sprintf("%d generations", n), func() bool {
		all = s.generations(t)
		return len(all) == n
	})
	return all
}

// awaitEnd waits until no process is left.
func (s *supervisor) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(testbed.Patience):
		t.Fatalf("still running: %v", s.generations(t))
	}
}

// stop sends SIGTERM to the main process and waits until no process is left.
func (s *supervisor) stop(t *testing.T) {
	t.Helper()
	s.signal(t, s.mainProcess(t), syscall.SIGTERM)
	s.awaitEnd(t)
}

// command runs a command of postern with the settings of s and returns its exit
// code and all it prints.
func (s *supervisor) command(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := run(t.Context(), args, s.environ, &out, &out)
	return code, out.String()
}

// upgrade replaces the main process, and returns the ID of the new one.
func (s *supervisor) upgrade(t *testing.T) int {
	t.Helper()
	before := s.mainProcess(t)
	if code, text := s.command(t, "upgrade"); code != exitOK {
		t.Fatalf("upgrade: exit %d\n%s", code, text)
	}
	after := s.mainProcess(t)
	if after == before {
		t.Fatalf("the main process is still %d", before)
	}
	return after
}

// descriptors counts the open file descriptors of a process.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// await waits until holds returns true, for what has no notification.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	testbed.Await(t, testbed.Patience, what, holds)
}
