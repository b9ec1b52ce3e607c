package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// engines are the programs that gateways can share over, the preferred one first.
var engines = []string{"valkey-server", "redis-server"}

// errNoEngine says what to install.
var errNoEngine = errors.New("several gateways share over valkey-server or redis-server, and neither is in PATH; on Debian: apt install redis-server")

// engineStart is how long an engine may take to accept connections.
const engineStart = 10 * time.Second

// engine is a Valkey or Redis server on a Unix socket in the directory of the demo. Its data
// are not stored.
type engine struct {
	url    string // value of SHARE_URL
	cancel context.CancelFunc
	ended  chan struct{}
	output bytes.Buffer // of the program; not to be read before it has ended
}

// startEngine starts the first of engines that is installed, with its files in dir, and
// returns when it accepts connections. The caller stops it.
func startEngine(ctx context.Context, dir string) (*engine, error) {
	program := ""
	for _, name := range engines {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		return nil, errNoEngine
	}
	socket := filepath.Join(dir, "engine")
	running, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the gateways use it until they have ended
	e := &engine{url: "unix://" + socket, cancel: cancel, ended: make(chan struct{})}
	cmd := exec.CommandContext(running, program, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no")
	cmd.Stdout, cmd.Stderr = &e.output, &e.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C ends the gateways first
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go func() {
		defer close(e.ended)
		_ = cmd.Wait() // an error by cancel
	}()
	if err := e.await(ctx, socket); err != nil {
		e.stop()
		return nil, fmt.Errorf("start %s: %w\n%s", program, err, e.output.Bytes())
	}
	return e, nil
}

// await waits until the engine accepts connections.
func (e *engine) await(ctx context.Context, socket string) error {
	tick, timeout := time.NewTicker(10*time.Millisecond), time.NewTimer(engineStart)
	defer tick.Stop()
	defer timeout.Stop()
	for {
		c, err := net.Dial("unix", socket)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.ended:
			return errors.New("the program has ended")
		case <-timeout.C:
			return err
		case <-tick.C:
		}
	}
}

// stop ends the engine.
func (e *engine) stop() {
	e.cancel()
	<-e.ended
}
