package demo

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

// TestGateways: several gateways count together, and what is spent at one is spent at the
// others. The engine ends with the demo.
func TestGateways(t *testing.T) {
	testbed.AnyEngine(t)
	d := startWith(t, Options{Gateways: 3})
	for _, gateway := range []string{"gateway1", "gateway2", "gateway3"} {
		d.out.Await(t, "sharing: ", gateway+" shared with 2 others")
	}
	d.out.Await(t, "has tried 3 wrong passwords of demo at gateway1")
	d.out.Await(t, "gateway2 says: ", "3 of 10 denials spent")
	socket := regexp.MustCompile(`/tmp/postern-demo-\d+`).FindString(d.out.String()) + "/engine"
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d.cancel()
	if err := <-d.ended; err != nil {
		t.Errorf("%v\n%s", err, d.log)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("the engine runs after the end of the demo")
	}
	if strings.Contains(d.log.String(), "level=ERROR") {
		t.Errorf("errors in the log:\n%s", d.log)
	}
}

// TestGatewaysUnderAttack: users log in at all gateways.
func TestGatewaysUnderAttack(t *testing.T) {
	testbed.AnyEngine(t)
	d := startWith(t, Options{Gateways: 2, Attack: true})
	d.out.Await(t, "gateway1 shared with 1 other", "gateway2 shared with 1 other")
	d.out.Await(t, "users log in")
	d.out.Await(t, "known served 100.0 %")
	d.cancel()
	if err := <-d.ended; err != nil {
		t.Errorf("%v\n%s", err, d.log)
	}
}

// TestGatewaysNeedAnEngine: without one, the demo says what to install.
func TestGatewaysNeedAnEngine(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	d := startWith(t, Options{Gateways: 2})
	if err := <-d.ended; err == nil || !strings.Contains(err.Error(), "apt install redis-server") || d.out.String() != "" {
		t.Errorf("%v\n%s", err, d.out)
	}
}
