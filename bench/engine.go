package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// engines are the programs that gateways can share over, the preferred one first.
var engines = []string{"valkey-server", "redis-server"}

// engineStart is how long an engine may take to accept connections.
const engineStart = 10 * time.Second

// An engine is a Valkey or Redis server on a Unix socket, without storage.
type engine struct {
	program string
	socket  string
	cancel  context.CancelFunc
	ended   chan struct{}
}

// startEngine starts the first of engines that is installed, with its files in dir. The
// caller stops it.
func startEngine(ctx context.Context, dir string) (*engine, error) {
	e := &engine{socket: filepath.Join(dir, "engine"), ended: make(chan struct{})}
	for _, name := range engines {
		if path, err := exec.LookPath(name); err == nil && e.program == "" {
			e.program = path
		}
	}
	if e.program == "" {
		return nil, fmt.Errorf("no %s: %w; on Debian: apt-get install redis-server", strings.Join(engines, " or "), errNotOffered)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until stop: postern must not lose it before
	e.cancel = cancel
	cmd := exec.CommandContext(running, e.program, "--port", "0", "--unixsocket", e.socket, "--dir", dir, "--save", "", "--appendonly", "no")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(e.ended)
		_ = cmd.Wait() // an error by cancel
	}()
	if err := e.await(ctx); err != nil {
		e.stop()
		return nil, fmt.Errorf("start %s: %w", e.program, err)
	}
	return e, nil
}

// await waits until the engine answers.
func (e *engine) await(ctx context.Context) error {
	for deadline := time.Now().Add(engineStart); ; {
		_, err := e.counts()
		if err == nil {
			return nil
		}
		select {
		case <-e.ended:
			return errors.New("the program has ended")
		case <-time.After(10 * time.Millisecond):
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// stop ends the engine.
func (e *engine) stop() {
	e.cancel()
	<-e.ended
}

// engineCounts is what an engine has counted since its start.
type engineCounts struct {
	appended int64 // batches: calls of XADD
	in, out  int64 // octets
	cpu      time.Duration
}

// sub returns what was counted since before.
func (c engineCounts) sub(before engineCounts) engineCounts {
	return engineCounts{c.appended - before.appended, c.in - before.in, c.out - before.out, c.cpu - before.cpu}
}

// add adds up counts.
func (c *engineCounts) add(more engineCounts) {
	c.appended, c.in, c.out, c.cpu = c.appended+more.appended, c.in+more.in, c.out+more.out, c.cpu+more.cpu
}

// counts asks the engine.
func (e *engine) counts() (c engineCounts, err error) {
	info, err := e.info()
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "cmdstat_xadd":
			value, _, _ = strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			c.appended, err = strconv.ParseInt(value, 10, 64)
		case "total_net_input_bytes":
			c.in, err = strconv.ParseInt(value, 10, 64)
		case "total_net_output_bytes":
			c.out, err = strconv.ParseInt(value, 10, 64)
		case "used_cpu_sys", "used_cpu_user":
			var seconds float64
			seconds, err = strconv.ParseFloat(value, 64)
			c.cpu += time.Duration(seconds * float64(time.Second))
		}
		if err != nil {
			return c, fmt.Errorf("INFO: %q: %w", line, err)
		}
	}
	return c, nil
}

// info returns the answer to INFO.
func (e *engine) info() (string, error) {
	c, err := net.Dial("unix", e.socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(engineStart))
	if _, err := io.WriteString(c, "INFO everything\r\n"); err != nil {
		return "", err
	}
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	size, err := strconv.Atoi(strings.Trim(line, "$\r\n"))
	if err != nil {
		return "", fmt.Errorf("INFO: got %q, want a length", line)
	}
	text := make([]byte, size)
	_, err = io.ReadFull(r, text)
	return string(text), err
}
