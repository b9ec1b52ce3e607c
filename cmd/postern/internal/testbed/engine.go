package testbed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The programs that EachEngine runs tests with. valkey-server is not in Debian 12.
const (
	redis  = "redis-server"
	valkey = "valkey-server"
)

// EachEngine runs test with each engine that is installed: redis-server, which must be there if CI=true, and valkey-server.
func EachEngine(t *testing.T, test func(t *testing.T, program string)) {
	for _, program := range []string{redis, valkey} {
		t.Run(program, func(t *testing.T) {
			switch _, err := exec.LookPath(program); {
			case err == nil:
				test(t, program)
			case program == redis:
				Missing(t, program)
			default:
				t.Skipf("%s is not installed", program)
			}
		})
	}
}

// AnyEngine is an engine that is installed.
func AnyEngine(t testing.TB) string {
	t.Helper()
	for _, program := range []string{redis, valkey} {
		if _, err := exec.LookPath(program); err == nil {
			return program
		}
	}
	Missing(t, redis)
	return ""
}

// An Engine is a Valkey or Redis server of a test, on loopback and on a Unix socket. It ends with the test. Its data do
// not survive a restart unless options say so.
type Engine struct {
	Port   int    // on 127.0.0.1; with TLS if there is an option tls-cert-file
	Socket string // without TLS
	Dir    string // has all its files; removed with the test
	Login  string // commands that Do sends first, each on a line of its own, such as AUTH

	t       testing.TB
	program []string
	process *exec.Cmd
	log     *engineLog
	exited  chan struct{}
}

// StartEngine starts an engine. options are lines of its configuration.
func StartEngine(t testing.TB, program string, options ...string) *Engine {
	t.Helper()
	e := newEngine(t, program)
	port := "port"
	if slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "tls-cert-file ") }) {
		port = "port 0\ntls-port"
	}
	e.startWith(fmt.Sprintf("%s %d\nsave \"\"\nappendonly no\nrepl-diskless-sync-delay 0\n%s\n", port, e.Port, strings.Join(options, "\n")))
	return e
}

// StartSentinel starts a Sentinel that watches primary under the name master.
func StartSentinel(t testing.TB, program, master string, primary *Engine, options ...string) *Engine {
	t.Helper()
	e := newEngine(t, program, "--sentinel")
	e.startWith(fmt.Sprintf("port %d\nsentinel monitor %s 127.0.0.1 %d 1\nsentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 1000\n%s\n", e.Port, master, primary.Port, master, master, strings.Join(options, "\n")))
	return e
}

// newEngine chooses a port and a directory, whose path is shorter than that of TempDir: those of sockets are limited.
func newEngine(t testing.TB, program string, args ...string) *Engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := filepath.Join(dir, "engine.conf")
	return &Engine{
		Port: freePort(t), Socket: filepath.Join(dir, "socket"), Dir: dir,
		t: t, program: append([]string{program, config}, args...),
	}
}

// freePort returns a free port on loopback. It is not one that the kernel chooses for clients, which could take it before
// the engine starts, or while it is down.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000))))
		if err == nil {
			ln.Close()
			return ln.Addr().(*net.TCPAddr).Port
		}
	}
	t.Fatal("no free port on loopback")
	return 0
}

// startWith writes the configuration and starts the engine, which ends with the test.
func (e *Engine) startWith(config string) {
	e.t.Helper()
	config = fmt.Sprintf("bind 127.0.0.1\nunixsocket %s\ndir %s\n", e.Socket, e.Dir) + config
	if err := os.WriteFile(e.program[1], []byte(config), 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.Start()
	e.t.Cleanup(e.Kill)
}

// Start starts an engine that was killed, and returns when it accepts connections.
func (e *Engine) Start() {
	e.t.Helper()
	e.log = &engineLog{ready: make(chan struct{})}
	e.exited = make(chan struct{})
	e.process = exec.Command(e.program[0], e.program[1:]...)
	e.process.Stdout, e.process.Stderr = e.log, e.log
	if err := e.process.Start(); err != nil {
		e.t.Fatal(err)
	}
	go func() {
		_ = e.process.Wait() // Kill makes it fail
		close(e.exited)
	}()
	select {
	case <-e.log.ready:
	case <-e.exited:
		e.t.Fatalf("%s has ended:\n%s", e.program[0], e.log)
	case <-time.After(Patience):
		e.t.Fatalf("%s is not ready:\n%s", e.program[0], e.log)
	}
}

// Kill ends the engine at once, and returns when it has ended.
func (e *Engine) Kill() {
	_ = e.process.Process.Kill() // it may have ended
	<-e.exited
}

// Stop suspends the engine: its connections are open, and nothing is answered.
func (e *Engine) Stop() { e.signal(syscall.SIGSTOP) }

// Continue resumes the engine after Stop.
func (e *Engine) Continue() { e.signal(syscall.SIGCONT) }

func (e *Engine) signal(s syscall.Signal) {
	e.t.Helper()
	if err := e.process.Process.Signal(s); err != nil {
		e.t.Fatal(err)
	}
}

// Addr is the address on loopback.
func (e *Engine) Addr() string { return "127.0.0.1:" + strconv.Itoa(e.Port) }

// URL is a value for POSTERN_SHARE_URL, without TLS.
func (e *Engine) URL() string { return "valkey://" + e.Addr() }

// SocketURL is a value for POSTERN_SHARE_URL.
func (e *Engine) SocketURL() string { return "unix://" + e.Socket }

// Do sends a command over a connection of its own and returns the reply: a string or number as it is, and an array as one item a line.
// An error ends the test.
func (e *Engine) Do(args ...string) string {
	e.t.Helper()
	reply, err := e.Try(args...)
	if err != nil {
		e.t.Fatalf("%s: %v", args[0], err)
	}
	return reply
}

// Try is Do for a command that may fail.
func (e *Engine) Try(args ...string) (string, error) {
	c, err := net.DialTimeout("unix", e.Socket, Patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(Patience))
	r := bufio.NewReader(c)
	for line := range strings.Lines(e.Login) {
		if _, err := command(c, r, strings.Fields(line)); err != nil {
			return "", err
		}
	}
	return command(c, r, args)
}

// command sends one command and reads the reply.
func command(c net.Conn, r *bufio.Reader, args []string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(c, b.String()); err != nil {
		return "", err
	}
	return readReply(r)
}

// readReply reads one reply of RESP2.
func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, text := line[0], strings.TrimRight(line[1:], "\r\n")
	if kind == '-' {
		return "", errors.New(text)
	}
	if kind != '$' && kind != '*' {
		return text, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return "", err
	}
	if kind == '$' {
		data := make([]byte, n+2)
		_, err := io.ReadFull(r, data)
		return string(data[:n]), err
	}
	items := make([]string, n)
	for i := range items {
		if items[i], err = readReply(r); err != nil {
			return "", err
		}
	}
	return strings.Join(items, "\n"), nil
}

// AwaitInfo waits until INFO contains text.
func (e *Engine) AwaitInfo(text string) {
	e.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(Patience); ; {
		info, err := e.Try("INFO")
		if err == nil && strings.Contains(info, text) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			e.t.Fatalf("INFO never contained %q, %v:\n%s", text, err, info)
		}
	}
}

// engineLog is the log of an engine.
type engineLog struct {
	mu    sync.Mutex
	text  strings.Builder
	ready chan struct{} // closed when the engine accepts connections
	is    bool          // ready is closed
}

// Write implements io.Writer.
func (l *engineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if !l.is && (strings.Contains(l.text.String(), "now ready to accept connections at") || strings.Contains(l.text.String(), "connections unix") || strings.Contains(l.text.String(), "Sentinel ID is")) {
		l.is = true
		close(l.ready)
	}
	return len(p), nil
}

// String returns the whole log.
func (l *engineLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
