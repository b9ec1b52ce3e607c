package limiter

import (
	"net/netip"
	"testing"
	"time"
)

func TestConnectRate(t *testing.T) {
	p := policy()
	p.Connect = Rate{2, 2 * time.Second}
	statement(t, p, `
		0s     connect a 192.0.2.1   = pass none
		0s     connect b 192.0.2.1   = pass none
		0s     connect c 192.0.2.1   = refuse connect
		0s     connect d 192.0.2.2   = pass none
		999ms  connect e 192.0.2.1   = refuse connect   # refused ones spend nothing
		1s     connect f 192.0.2.1   = pass none
		1s     leave a                                  # leaving gives no token back
		1s     connect g 192.0.2.1   = refuse connect
		3s     connect h 192.0.2.1   = pass none
		3s     connect i 192.0.2.1   = pass none
		3s     connect j 192.0.2.1   = refuse connect
	`)
}

func TestOpenConnections(t *testing.T) {
	p := policy()
	p.Open, p.OpenPrelogin = 3, 2
	statement(t, p, `
		0s  connect a 192.0.2.1  = pass none
		0s  connect b 192.0.2.1  = pass none
		0s  connect c 192.0.2.1  = refuse open_prelogin
		1s  login a
		1s  login a                                    # said twice, counted once
		1s  connect c 192.0.2.1  = pass none
		1s  login b
		1s  connect d 192.0.2.1  = refuse open
		1s  connect e 192.0.2.2  = pass none
		2s  leave a
		2s  leave a
		2s  connect d 192.0.2.1  = pass none
		2s  connect f 192.0.2.1  = refuse open
		3s  leave c                                    # before login
		3s  connect f 192.0.2.1  = pass none
		3s  login d
		3s  login f
		4s  leave b
		4s  leave d
		4s  leave f
		4s  connect g 192.0.2.1  = pass none
		4s  connect h 192.0.2.1  = pass none
		4s  connect i 192.0.2.1  = refuse open_prelogin
	`)
}

func TestRefusedConnectLeavesNoTrace(t *testing.T) {
	p := policy()
	p.OpenPrelogin = 1
	tl := statement(t, p, `0s  connect a 192.0.2.1  = pass none`)
	source := netip.MustParsePrefix("192.0.2.1/32")
	before := tl.inside(ofSource, source)
	tl.play(t, `0s  connect b 192.0.2.1  = refuse open_prelogin`)
	if e := tl.inside(ofSource, source); e != before || e.open != 1 {
		t.Errorf("entry %+v, before %+v", e, before)
	}
}

func TestAVisitThatLeftIsForgotten(t *testing.T) {
	tl := statement(t, policy(), `
		0s  connect a 192.0.2.1  = pass none
		1s  leave a
		1s  login a
		2s  connect b 192.0.3.1  = pass none
	`)
	if s := tl.Stats(at("2s")); s.Sources != 1 {
		t.Errorf("%+v: want the second source alone", s)
	}
}
