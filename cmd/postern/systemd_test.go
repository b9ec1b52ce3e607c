//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// service is postern as deploy/postern.service runs it, under a systemd of its own,
// with the ports of mail on a loopback address.
type service struct {
	*nestedSystemd
	site *testbed.Site
	ip   string
}

// newService boots systemd with postern.service, other units of deploy, and a
// drop-in with settings of the section [Service]. The service is not started.
func newService(t *testing.T, dropIn string, others ...string) *service {
	t.Helper()
	units := map[string]string{"postern.service.d/test.conf": "[Service]\nStandardOutput=append:/dev/kmsg\nStandardError=append:/dev/kmsg\n" + dropIn}
	for _, name := range append(others, "postern.service") {
		units[filepath.Base(name)] = readDeploy(t, name)
	}
	pid := os.Getpid() // at most 22 bits
	s := &service{site: testbed.NewSite(t), ip: fmt.Sprintf("127.%d.%d.%d", 64+pid>>16, pid>>8&255, pid&255)}
	s.nestedSystemd = bootSystemd(t, units)
	for name, file := range map[string]string{"postern.crt": s.site.CertFile, "postern.key": s.site.KeyFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, "etc/postern/"+name, string(text))
	}
	s.configure(t)
	s.install(t)
	return s
}

// readDeploy reads a file of deploy.
func readDeploy(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// configure writes postern.env with the settings in more on top.
func (s *service) configure(t *testing.T, more ...string) {
	t.Helper()
	settings := map[string]string{}
	for _, v := range append(s.site.Environ,
		prefix+"IMAP_LISTEN="+s.addr("143"), prefix+"IMAPS_LISTEN="+s.addr("993"), prefix+"POP3_LISTEN="+s.addr("110"), prefix+"POP3S_LISTEN="+s.addr("995"),
		prefix+"ADMIN_LISTEN="+s.addr("9143"), prefix+"TLS_CERT=/etc/postern/postern.crt", prefix+"TLS_KEY=/etc/postern/postern.key", prefix+"DRAIN=1ms") {
		name, value, _ := strings.Cut(v, "=")
		settings[name] = value
	}
	delete(settings, prefix+"STATE_DIR") // use the state directory of the unit
	for _, v := range more {
		name, value, _ := strings.Cut(v, "=")
		settings[name] = value
	}
	var text strings.Builder
	for name, value := range settings {
		fmt.Fprintf(&text, "%s=%s\n", name, value)
	}
	s.write(t, "etc/postern/postern.env", text.String())
}

// addr is the address of a port.
func (s *service) addr(port string) string { return net.JoinHostPort(s.ip, port) }

// program is a static binary of postern.
var program = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "postern")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", dir+"/postern", ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, output)
	}
	return os.ReadFile(dir + "/postern")
})

// install installs postern in place of the former file, if there is one.
func (s *service) install(t *testing.T) {
	t.Helper()
	s.installAs(t, "postern")
}

// installAs installs postern with another name.
func (s *service) installAs(t *testing.T, name string) {
	t.Helper()
	text, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s.replace(t, name, text)
}

// replace replaces a program.
func (s *service) replace(t *testing.T, name string, text []byte) {
	t.Helper()
	path := filepath.Join(s.dir, "bin", name)
	if err := os.WriteFile(path+".new", text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// login connects to a TLS listener and logs in.
func (s *service) login(t *testing.T) *testbed.Client {
	t.Helper()
	c := testbed.DialTLS(t, s.addr("993"), s.site.Certificate.Client())
	c.Login()
	return c
}

// crash kills the main process, and waits until systemd has started another one.
func (s *service) crash(t *testing.T) {
	t.Helper()
	before := s.property(t, "NRestarts")
	s.systemctl(t, "kill", "--signal=KILL", "--kill-whom=main", "postern")
	s.await(t, "NRestarts", func(n string) bool { return n != before })
	s.await(t, "SubState", func(state string) bool { return state == "running" })
}

// warnings are the lines of systemd's own log with priority warning or above.
func (s *service) warnings() (lines []string) {
	for line := range strings.Lines(s.log.String()) {
		if strings.HasPrefix(line, "<") && line[1:] < "29>" {
			lines = append(lines, line)
		}
	}
	return lines
}

// processes are the main process and former ones, by the number of lines in the list
// of the service's cgroup.
func (s *service) processes(t *testing.T) []string {
	t.Helper()
	code, output := s.run(t, "cat", "/sys/fs/cgroup/system.slice/postern.service/cgroup.procs")
	if code != 0 { // systemd has removed it
		return nil
	}
	return strings.Fields(output)
}

// upgrade installs a new program and has systemd reload, and waits for the new main
// process.
func (s *service) upgrade(t *testing.T) {
	t.Helper()
	s.install(t)
	former := s.property(t, "MainPID")
	s.systemctl(t, "reload", "postern")
	if got := s.property(t, "MainPID"); got == former {
		t.Errorf("main process after a reload with a new program: still %s", got)
	}
}

// refused fails the test unless connections to a port are refused.
func (s *service) refused(t *testing.T, port string) {
	t.Helper()
	if _, err := net.Dial("tcp", s.addr(port)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect to port %s: got %v, want %v", port, err, syscall.ECONNREFUSED)
	}
}

// TestServiceStartsReloadsAndStops runs the unit with its own settings.
func TestServiceStartsReloadsAndStops(t *testing.T) {
	s := newService(t, "")
	s.systemctl(t, "start", "postern")
	main := s.property(t, "MainPID")
	c := s.login(t)

	s.configure(t, prefix+"LIMIT_SOURCE=11/10m")
	s.systemctl(t, "reload", "postern")
	s.log.Await(t, "settings reloaded", "changed=[POSTERN_LIMIT_SOURCE]")
	s.await(t, "SubState", func(state string) bool { return state == "running" })
	c.Say("b NOOP", "b OK")
	if got := s.property(t, "MainPID"); got != main {
		t.Errorf("main process after a reload: got %s, want %s", got, main)
	}

	s.systemctl(t, "stop", "postern")
	if got := s.property(t, "Result"); got != "success" {
		t.Errorf("result: got %q, want success", got)
	}
	s.refused(t, "993")
	if got := s.warnings(); got != nil {
		t.Errorf("systemd warns:\n%s", got)
	}
}

// TestServiceRestartsAfterCrash kills the main process.
func TestServiceRestartsAfterCrash(t *testing.T) {
	s := newService(t, "RestartSec=0\n")
	s.systemctl(t, "start", "postern")
	s.login(t)
	s.crash(t)
	s.login(t).Say("b NOOP", "b OK")
}

// TestServiceIsWatched checks that the main process notifies the watchdog in time.
func TestServiceIsWatched(t *testing.T) {
	s := newService(t, "WatchdogSec=1\n")
	s.systemctl(t, "start", "postern")
	for range 3 {
		s.awaitWatchdog(t)
	}
	if got := s.property(t, "NRestarts"); got != "0" {
		t.Errorf("restarts: got %s, want 0", got)
	}
}

// awaitWatchdog waits for the next notification of the watchdog.
func (s *service) awaitWatchdog(t *testing.T) {
	t.Helper()
	last := s.property(t, "WatchdogTimestampMonotonic")
	s.await(t, "WatchdogTimestampMonotonic", func(at string) bool { return at != last })
}
