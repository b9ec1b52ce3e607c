//go:build linux

package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/cmd/postern/internal/testbed"
)

// The machines of a test: the gateway has the first address of each network, clients have
// others.
const (
	gateway4, gateway6 = "192.0.2.1", "2001:db8:ffff::1"
	attacker4          = "192.0.2.66"
	user4              = "192.0.2.7"
	attacker6          = "2001:db8:0:66::bad"
	neighbour6         = "2001:db8:0:66::2" // in the same /64
	user6              = "2001:db8:0:7::7"
)

// inNetwork is set in the environment of a test that runs in a network namespace of its own.
const inNetwork = "POSTERN_TEST_NETWORK"

// runInNetwork runs the calling test once more in a new network namespace, and returns false, or
// returns true there.
func runInNetwork(t *testing.T, programs ...string) bool {
	t.Helper()
	if os.Getenv(inNetwork) != "" {
		return true
	}
	t.Parallel()
	for _, p := range append(programs, "ip", "nft") {
		if _, err := exec.LookPath(p); err != nil {
			testbed.Missing(t, p)
		}
	}
	if os.Geteuid() != 0 {
		testbed.Unable(t, "a network namespace needs root")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNetwork+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// A network connects the namespace of the gateway, which is that of the test, with one of clients.
type network struct {
	t       *testing.T
	clients int // a descriptor of their namespace
}

// newNetwork makes the addresses and the link.
func newNetwork(t *testing.T) *network {
	n := &network{t: t}
	holder := exec.Command("sleep", "infinity")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	start(t, holder)
	pid := holder.Process.Pid
	var err error
	if n.clients, err = unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	n.run("ip link set lo up")
	n.run(fmt.Sprintf("ip link add gate type veth peer name client netns %d", pid))
	n.run("ip link set gate up")
	n.run("ip addr add " + gateway4 + "/24 dev gate")
	n.run("ip addr add " + gateway6 + "/32 dev gate nodad")
	inClients := fmt.Sprintf("nsenter -t %d -n ", pid)
	n.run(inClients + "ip link set client up")
	for _, addr := range []string{attacker4 + "/24", user4 + "/24", attacker6 + "/32 nodad", neighbour6 + "/32 nodad", user6 + "/32 nodad"} {
		n.run(inClients + "ip addr add dev client " + addr)
	}
	return n
}

// start starts a process, which ends with the test, or with this process if that is killed. Linux
// counts the death of the thread that has started a process as that of the parent.
func start(t *testing.T, cmd *exec.Cmd) (kill func()) {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	}
	t.Cleanup(kill)
	return kill
}

// run runs a program, and returns its output.
func (n *network) run(command string, input ...string) string {
	n.t.Helper()
	words := strings.Fields(command)
	cmd := exec.CommandContext(n.t.Context(), words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(strings.Join(input, ""))
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// serve accepts connections of all addresses at a port.
func (n *network) serve(port int) {
	n.t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}

// connects reports whether a client with an address can connect to a port of the gateway.
func (n *network) connects(from string, port int) bool {
	n.t.Helper()
	source, to := netip.MustParseAddr(from), gateway4
	if source.Is6() {
		to = gateway6
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // it ends with the goroutine, for it stays in the namespace of clients
		if err := unix.Setns(n.clients, unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		d := net.Dialer{Timeout: 300 * time.Millisecond, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))}
		c, err := d.Dial("tcp", net.JoinHostPort(to, fmt.Sprint(port)))
		if err == nil {
			c.Close()
		}
		result <- err
	}()
	err := <-result
	if err != nil && !os.IsTimeout(err) {
		n.t.Fatalf("connect from %s: %v", from, err)
	}
	return err == nil
}

// await waits until a client can connect to port 993, or cannot any more.
func (n *network) await(from string, connects bool) {
	n.t.Helper()
	for end := time.Now().Add(testbed.Patience); n.connects(from, 993) != connects; {
		if time.Now().After(end) {
			n.t.Fatalf("%s: connects: %v\n%s", from, !connects, n.run("nft list ruleset"))
		}
		<-time.After(20 * time.Millisecond)
	}
}
