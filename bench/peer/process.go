package peer

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a program in the foreground, in a process group of its own.
type process struct {
	pid    int
	ended  chan struct{}
	output *os.File
}

const (
	// stopPatience is how long a program may take to end before it is killed.
	stopPatience = 5 * time.Second
	// logMax is the size at which a log is emptied between two rounds.
	logMax = 64 << 20
	// logShown is how much of a log a failure shows.
	logShown = 4 << 10
)

// run starts a program whose output goes to a file in dir. It ends with this
// process, however that ends.
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
		runtime.LockOSThread() // the signal comes when the thread ends
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

// stop ends the program, by force if it must, and what is left of its group.
func (p *process) stop() {
	_ = syscall.Kill(p.pid, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopPatience):
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.ended
	}
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // children that outlived it
	p.output.Close()
}

// tidy empties a log that has grown large.
func (p *process) tidy() {
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

// freeDoors finds ports for all doors, below those that the system gives to
// connections on their way out.
func freeDoors() (d doors, err error) {
	for _, addr := range []*string{&d.IMAP, &d.IMAPS, &d.POP3, &d.POP3S} {
		if *addr, err = freePort(); err != nil {
			return d, err
		}
	}
	return d, nil
}

// freePort returns an address where nobody listens.
func freePort() (string, error) {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr, nil
		}
	}
	return "", errors.New("no free port between 20000 and 32000")
}
