package doctor

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/testbed"
)

// loaded is an examination with settings, and no answer of a gateway.
func loaded(t *testing.T, more ...string) *examination {
	t.Helper()
	e := &examination{Options: Options{Environ: testbed.Environ(append([]string{prefix + "ADMIN_LISTEN=127.0.0.1:1"}, more...)...)}}
	if err := e.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(e.wrong) > 0 {
		t.Fatal(e.wrong)
	}
	return e
}

// busyPort is an address on which something listens until the test ends.
func busyPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// TestPorts while postern runs and while it does not.
func TestPorts(t *testing.T) {
	// No other test uses these addresses.
	const free, closed = "127.77.0.1:10993", "127.77.0.1:1"
	busy := busyPort(t)
	for name, tt := range map[string]struct {
		imaps   string
		runs    bool
		noAdmin bool
		level   Level
		want    []string
	}{
		"runs and accepts":      {imaps: busy, runs: true, want: []string{"accepts connections"}},
		"runs and does not":     {imaps: closed, runs: true, level: Failure, want: []string{"does not accept connections there: connect: connection refused", "POSTERN_IMAPS_LISTEN"}},
		"free":                  {imaps: free, want: []string{"free; postern does not run"}},
		"in use":                {imaps: busy, level: Failure, want: []string{"another program uses it", "ss -ltnp", "POSTERN_IMAPS_LISTEN"}},
		"in use, by whom":       {imaps: busy, noAdmin: true, level: Warning, want: []string{"whether by postern is not known", "POSTERN_ADMIN_LISTEN"}},
		"not of this machine":   {imaps: "192.0.2.1:993", level: Failure, want: []string{"this machine does not have the address", "POSTERN_IMAPS_LISTEN"}},
		"another at each start": {imaps: "127.0.0.1:0", level: Warning, want: []string{"another one after each start", "POSTERN_IMAPS_LISTEN"}},
	} {
		t.Run(name, func(t *testing.T) {
			more := []string{prefix + "IMAP_LISTEN=off", prefix + "POP3_LISTEN=off", prefix + "POP3S_LISTEN=off", prefix + "IMAPS_LISTEN=" + tt.imaps}
			if tt.noAdmin {
				more = append(more, prefix+"ADMIN_LISTEN=off")
			}
			e := loaded(t, more...)
			if tt.runs {
				e.running = &monitor.State{}
			}
			r := Report(e.checkPorts(t.Context()))
			r.expect(t, tt.level, append([]string{"port imaps " + tt.imaps}, tt.want...)...)
			if len(r) != 1 {
				t.Errorf("got\n%s", r.text(t))
			}
		})
	}
}

// TestTarget is where an address to listen on is reached.
func TestTarget(t *testing.T) {
	for addr, want := range map[string]string{
		":993": "127.0.0.1:993", "0.0.0.0:993": "127.0.0.1:993", "[::]:993": "[::1]:993",
		"192.0.2.1:993": "192.0.2.1:993", "[2001:db8::1]:993": "[2001:db8::1]:993", "mail.example:993": "mail.example:993",
	} {
		if got := target(addr); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

// TestDescriptors are compared with the connections that the running gateway may have.
func TestDescriptors(t *testing.T) {
	for name, tt := range map[string]struct {
		limit       uint64
		connections int
		level       Level
		want        string
	}{
		"many":              {1 << 20, 100_000, OK, "1048576 for the running postern, at most 100000 connections"},
		"few":               {1024, 900, Warning, "LimitNOFILE"},
		"fewer than needed": {100_000, 200_000, Failure, "fewer than the 200000 connections of POSTERN_MAX_CONNECTIONS"},
	} {
		e := loaded(t)
		e.running, e.process.fdLimit = &monitor.State{MaxConnections: tt.connections}, tt.limit
		t.Run(name, func(t *testing.T) { Report(e.checkDescriptors(t.Context())).expect(t, tt.level, tt.want) })
	}
}

// TestFindProcess finds this process, and no other program.
func TestFindProcess(t *testing.T) {
	p := findProcess(os.Getpid())
	if p.pid != os.Getpid() || p.uid != os.Geteuid() || p.fdLimit == 0 {
		t.Errorf("got %+v", p)
	}
	if p := findProcess(os.Getppid()); p.pid != 0 || p.fdLimit != 0 {
		t.Errorf("the program that runs the test: got %+v", p)
	}
}

// TestClock: what the kernel says, and other machines.
func TestClock(t *testing.T) {
	for name, tt := range map[string]struct {
		right bool
		err   error
		level Level
		want  string
	}{
		"synchronised":   {true, nil, OK, "synchronised"},
		"not":            {false, nil, Warning, "chrony"},
		"cannot be read": {false, syscall.EPERM, OK, "cannot be read"},
		"another system": {false, errors.ErrUnsupported, OK, "cannot be read"},
	} {
		e := &examination{Options: Options{synchronised: func() (bool, error) { return tt.right, tt.err }}}
		t.Run(name, func(t *testing.T) { Report(e.checkClock(t.Context())).expect(t, tt.level, "clock: ", tt.want) })
	}
	now := time.Now()
	for offset, tt := range map[time.Duration]struct {
		level Level
		want  string
	}{time.Second: {OK, "agrees with a"}, time.Minute: {Warning, "1m0s ahead of that of a"}, -time.Hour: {Warning, "1h0m0s behind that of a"}} {
		Report(compareClock("a", answer{date: now.Add(-offset), got: now})).expect(t, tt.level, "clock: ", tt.want)
	}
	if found := compareClock("a", answer{got: now}); found != nil {
		t.Errorf("no Date: got %v", found)
	}
}

// TestStateDir in every condition.
func TestStateDir(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, dir string) // may be nil
		runs   bool
		level  Level
		want   []string
	}{
		"good":             {func(t *testing.T, dir string) { write(t, dir, "known", 0o600) }, false, OK, []string{"writable, for its owner only, 1 files"}},
		"does not exist":   {func(_ *testing.T, dir string) { os.Remove(dir) }, false, OK, []string{"can be created"}},
		"removed":          {func(_ *testing.T, dir string) { os.Remove(dir) }, true, Failure, []string{"no such file", "mode 0700", "POSTERN_STATE_DIR"}},
		"open to others":   {func(_ *testing.T, dir string) { os.Chmod(dir, 0o755) }, false, Warning, []string{"mode 0755", "chmod 700"}},
		"open file":        {func(t *testing.T, dir string) { write(t, dir, "known", 0o604); write(t, dir, "key", 0o644) }, false, Warning, []string{"every user can read", "and 1 more", "chmod -R go-rwx"}},
		"damaged file":     {func(t *testing.T, dir string) { write(t, dir, "known.damaged", 0o600) }, false, Warning, []string{"could not read this file", "restore ", "known from a backup"}},
		"file of tomorrow": {func(t *testing.T, dir string) { future(t, write(t, dir, "known", 0o600)) }, false, Warning, []string{"clock: ", "known changed in the future", "set the clock"}},
		"other directory":  {nil, true, Warning, []string{"the running postern does not use it", "POSTERN_STATE_DIR"}},
		"not locked":       {func(t *testing.T, dir string) { write(t, dir, "lock", 0o600) }, true, Warning, []string{"the running postern does not use it"}},
		"locked":           {func(t *testing.T, dir string) { lock(t, write(t, dir, "lock", 0o600)) }, false, Failure, []string{"process 4711 uses it", "end the process"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := stateDir(t)
			if tt.change != nil {
				tt.change(t, dir)
			}
			e := loaded(t, prefix+"STATE_DIR="+dir)
			if tt.runs {
				e.running = &monitor.State{}
			}
			r := Report(e.checkStateDir(t.Context()))
			r.expect(t, tt.level, tt.want...)
			if len(r) != 1 {
				t.Errorf("got\n%s", r.text(t))
			}
		})
	}
	Report(loaded(t).checkStateDir(t.Context())).expect(t, Warning, "state directory: none", "set POSTERN_STATE_DIR")
}

// write puts a file into dir.
func write(t *testing.T, dir, name string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("4711\n"), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// future has a file changed tomorrow.
func future(t *testing.T, path string) {
	t.Helper()
	tomorrow := time.Now().Add(24 * time.Hour)
	if err := os.Chtimes(path, tomorrow, tomorrow); err != nil {
		t.Fatal(err)
	}
}

// lock locks a file as another process would, until the test ends.
func lock(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// TestStateDirOfAnotherUser is wrong if that is not the user of the running gateway.
func TestStateDirOfAnotherUser(t *testing.T) {
	dir := stateDir(t)
	e := loaded(t, prefix+"STATE_DIR="+dir)
	lock(t, write(t, dir, "lock", 0o600))
	e.running, e.process = &monitor.State{}, process{pid: 1, uid: os.Geteuid() + 1}
	r := Report(e.checkStateDir(t.Context()))
	r.expect(t, Failure, "belongs to user ID", "the user of the running postern", "chown -R")
	if i := slices.IndexFunc(r, func(f Finding) bool { return strings.Contains(f.Found, "does not use it") }); i >= 0 {
		t.Errorf("got %+v", r[i])
	}
}
