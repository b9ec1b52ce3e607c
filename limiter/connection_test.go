package limiter

import (
	"net/netip"
	"testing"
	"time"
)

func TestConnectRate(t *testing.T) {
	p := policy()
	p.Connect = Rate{2, 2 * time.Second}
	runScript(t, p, `
		0s     connect a 192.0.2.1   = pass none
		0s     connect b 192.0.2.1   = pass none
		0s     connect c 192.0.2.1   = refuse connect
		0s     connect d 192.0.2.2   = pass none
		999ms  connect e 192.0.2.1   = refuse connect   # refused ones spend nothing
		1s     connect f 192.0.2.1   = pass none
		1s     close a                                  # closing returns no token
		1s     connect g 192.0.2.1   = refuse connect
		3s     connect h 192.0.2.1   = pass none
		3s     connect i 192.0.2.1   = pass none
		3s     connect j 192.0.2.1   = refuse connect
	`)
}

func TestOpenConnections(t *testing.T) {
	p := policy()
	p.Open, p.OpenPrelogin = 3, 2
	runScript(t, p, `
		0s  connect a 192.0.2.1  = pass none
		0s  connect b 192.0.2.1  = pass none
		0s  connect c 192.0.2.1  = refuse open_prelogin
		1s  login a
		1s  login a                                    # the second call does nothing
		1s  connect c 192.0.2.1  = pass none
		1s  login b
		1s  connect d 192.0.2.1  = refuse open
		1s  connect e 192.0.2.2  = pass none
		2s  close a
		2s  close a
		2s  connect d 192.0.2.1  = pass none
		2s  connect f 192.0.2.1  = refuse open
		3s  close c                                    # before login
		3s  connect f 192.0.2.1  = pass none
		3s  login d
		3s  login f
		4s  close b
		4s  close d
		4s  close f
		4s  connect g 192.0.2.1  = pass none
		4s  connect h 192.0.2.1  = pass none
		4s  connect i 192.0.2.1  = refuse open_prelogin
	`)
}

func TestRefusedConnectIsNotCounted(t *testing.T) {
	p := policy()
	p.OpenPrelogin = 1
	sr := runScript(t, p, `0s  connect a 192.0.2.1  = pass none`)
	source := netip.MustParsePrefix("192.0.2.1/32")
	before := sr.inside(kindSource, source)
	sr.run(t, `0s  connect b 192.0.2.1  = refuse open_prelogin`)
	if e := sr.inside(kindSource, source); e != before || e.open != 1 {
		t.Errorf("entry %+v, before %+v", e, before)
	}
}

func TestClosedConnectionIsDropped(t *testing.T) {
	sr := runScript(t, policy(), `
		0s  connect a 192.0.2.1  = pass none
		1s  close a
		1s  login a
		2s  connect b 192.0.3.1  = pass none
	`)
	if s := sr.Stats(at("2s")); s.Sources != 1 {
		t.Errorf("%+v: want only the second source", s)
	}
}
