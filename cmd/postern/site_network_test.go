//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// A siteNetwork has a network namespace for each gateway of a site. Two bridges connect
// them with that of the test: one for clients and mail servers, and one for the engine,
// so that a gateway can be cut off from the engine alone.
type siteNetwork struct {
	number int
	lock   net.Listener // as long as it is open, no other test uses the number
	size   int          // gateways

}

// The networks of a site are parts of 10.213.N.0/24, where N is its number. The test has
// the first address of each.
const (
	mailHost   = 1
	engineHost = 129
	firstHost  = 9 // of a gateway, in addition to the address of the test
)

// siteNetworks is how many there may be on a machine at the same time.
const siteNetworks = 200

// newSiteNetwork makes the network of a site with this many gateways. It is removed with
// the test; what a test has left that was killed is removed first.
func newSiteNetwork(t *testing.T, size int) *siteNetwork {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		testbed.Missing(t, "ip")
	}
	n := &siteNetwork{size: size}
	for n.lock == nil {
		if n.number == siteNetworks {
			t.Fatalf("all %d networks are in use", siteNetworks)
		}
		// An abstract socket: it is free again once this process has ended, however that was.
		lock, err := net.Listen("unix", fmt.Sprintf("@postern-test-site-%d", n.number))
		switch {
		case err == nil:
			n.lock = lock
		case errors.Is(err, syscall.EADDRINUSE):
			n.number++
		default:
			t.Fatal(err)
		}
	}
	n.remove(t)
	t.Cleanup(func() {
		n.remove(t)
		n.lock.Close()
	})
	for _, bridge := range []struct {
		name string
		host int
	}{{n.bridge("mail"), mailHost}, {n.bridge("engine"), engineHost}} {
		// Without an address of its own, a bridge gets another one whenever a port is added or removed.
		n.ip(t, "link add %s address 02:00:00:00:%02x:%02x type bridge", bridge.name, n.number, bridge.host)
		n.ip(t, "addr add %s/25 dev %s", n.addr(bridge.host), bridge.name)
		n.ip(t, "link set %s up", bridge.name)
	}
	for i := range size {
		n.connect(t, i)
	}
	return n
}

// connect makes the namespace of a gateway.
func (n *siteNetwork) connect(t *testing.T, gateway int) {
	t.Helper()
	space := n.namespace(gateway)
	n.ip(t, "netns add %s", space)
	n.ip(t, "-n %s link set lo up", space)
	for _, part := range []struct {
		name string
		host int
	}{{"mail", mailHost}, {"engine", engineHost}} {
		port := n.port(part.name, gateway)
		n.ip(t, "link add %s type veth peer name %s netns %s", port, part.name, space)
		n.ip(t, "-n %s addr add %s/25 dev %s", space, n.addr(part.host+firstHost+gateway), part.name)
		n.ip(t, "-n %s link set %s up", space, part.name)
		n.ip(t, "link set %s master %s up", port, n.bridge(part.name))
	}
}

// ip runs ip(8).
func (n *siteNetwork) ip(t *testing.T, format string, args ...any) {
	t.Helper()
	command := fmt.Sprintf(format, args...)
	if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

// remove removes all networks with this number, and ends the processes in them.
func (n *siteNetwork) remove(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir("/run/netns")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), n.namespace(-1)) {
			continue
		}
		pids, err := exec.Command("ip", "netns", "pids", e.Name()).Output()
		if err != nil {
			t.Fatalf("ip netns pids %s: %v", e.Name(), err)
		}
		for _, pid := range strings.Fields(string(pids)) {
			_ = exec.Command("kill", "-KILL", pid).Run() // it may have ended
		}
		n.ip(t, "netns del %s", e.Name())
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if strings.HasPrefix(i.Name, n.bridge("")) {
			_ = exec.Command("ip", "link", "del", i.Name).Run() // it may go with its namespace or its peer
		}
	}
}

// bridge is the name of a bridge, port that of what connects a gateway with it, and
// namespace that of a gateway's namespace; with -1 it is the begin of all those names.
func (n *siteNetwork) bridge(part string) string { return fmt.Sprintf("ps%d-%s", n.number, part) }
func (n *siteNetwork) port(part string, gateway int) string {
	return fmt.Sprintf("%s%d", n.bridge(part), gateway)
}
func (n *siteNetwork) namespace(gateway int) string {
	if gateway < 0 {
		return fmt.Sprintf("postern-test-%d-", n.number)
	}
	return fmt.Sprintf("%s%d", n.namespace(-1), gateway)
}

// addr is the address of a host.
func (n *siteNetwork) addr(host int) string { return fmt.Sprintf("10.213.%d.%d", n.number, host) }

// gatewayAddr is the address of a gateway for clients.
func (n *siteNetwork) gatewayAddr(gateway int) string { return n.addr(mailHost + firstHost + gateway) }

// partition drops all packets between a gateway and the engine, in both directions, until
// heal.
func (n *siteNetwork) partition(t *testing.T, gateway int) {
	t.Helper()
	n.ip(t, "link set %s nomaster", n.port("engine", gateway))
}

// heal ends partition.
func (n *siteNetwork) heal(t *testing.T, gateway int) {
	t.Helper()
	n.ip(t, "link set %s master %s", n.port("engine", gateway), n.bridge("engine"))
}

// TestSiteNetwork: a partition separates one gateway from the engine, and not from clients.
func TestSiteNetwork(t *testing.T) {
	t.Parallel()
	n := newSiteNetwork(t, 2)
	reaches := func(gateway, host int) bool {
		// Nothing listens: a host that is reached refuses the connection. Others do not answer for minutes.
		out, err := exec.Command("ip", "netns", "exec", n.namespace(gateway), "timeout", "2", "bash", "-c", "</dev/tcp/"+n.addr(host)+"/9").CombinedOutput()
		if err == nil {
			t.Errorf("connected to %s", n.addr(host))
		}
		return strings.Contains(string(out), "Connection refused")
	}
	for gateway := range 2 {
		if !reaches(gateway, mailHost) || !reaches(gateway, engineHost) {
			t.Fatalf("gateway %d does not reach clients and the engine", gateway)
		}
	}
	n.partition(t, 1)
	if !reaches(0, engineHost) || reaches(1, engineHost) || !reaches(1, mailHost) {
		t.Error("a partition does not separate one gateway from the engine alone")
	}
	n.heal(t, 1)
	if !reaches(1, engineHost) {
		t.Error("a partition does not end")
	}
}
