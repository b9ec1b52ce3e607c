package peer

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a running program in a process group of its own.
type process struct {
	pid    int
	ended  chan struct{}
	output *os.File
}

const (
	// stopTimeout is how long a program may take to end before it is killed.
	stopTimeout = 5 * time.Second
	// logMax is the size above which a log is emptied between two rounds.
	logMax = 64 << 20
	// logShown is how much of a log an error shows.
	logShown = 4 << 10
)

// run starts a program with its output in a file in dir. It ends with this
// process, even if that is killed.
func run(dir, program string, args, env []string) (*process, error) {
	output, err := os.OpenFile(filepath.Join(dir, "output"), os.O_CREATE|os.O_RDWR|os.O_APPEND|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, env
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p := &process{ended: make(chan struct{}), output: output}
	started := make(chan error)
	go func() {
		defer close(p.ended)
		runtime.LockOSThread() // Pdeathsig is sent when this thread ends
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		output.Close()
		return nil, err
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// stop ends the program with SIGTERM, after stopTimeout with SIGKILL, and kills
// what remains of its group.
func (p *process) stop() {
	_ = syscall.Kill(p.pid, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.ended
	}
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // remaining children
	p.output.Close()
}

// truncateLog empties a large log.
func (p *process) truncateLog() {
	if info, err := p.output.Stat(); err == nil && info.Size() > logMax {
		_ = p.output.Truncate(0)
	}
}

// log returns the end of the program's output.
func (p *process) log() string {
	f, err := os.Open(p.output.Name())
	if err != nil {
		return ""
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-logShown), io.SeekStart)
	}
	text, _ := io.ReadAll(f)
	return strings.TrimSpace(string(text))
}

// freeListeners returns free ports for all listeners, below those that the
// system uses for outgoing connections.
func freeListeners() (l listeners, err error) {
	for _, addr := range []*string{&l.IMAP, &l.IMAPS, &l.POP3, &l.POP3S, &l.Admin} {
		if *addr, err = freePort(); err != nil {
			return l, err
		}
	}
	return l, nil
}

// The range of ports of targets.
const (
	firstPort = 20000
	portCount = 12000
)

// portsTried counts from a random number. Ports are tried in order, so that
// targets that start at the same time never get the same one.
var portsTried = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(portCount))
	return &n
}()

// freePort returns a free address.
func freePort() (string, error) {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+portsTried.Add(1)%portCount)
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr, nil
		}
	}
	return "", fmt.Errorf("no free port from %d to %d", firstPort, firstPort+portCount-1)
}
