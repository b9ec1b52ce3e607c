package main

import (
	"testing"
	"time"

	"postern/limiter"
)

// TestTighten: only what is about strangers is halved, through a reload too,
// and all is as before in the end.
func TestTighten(t *testing.T) {
	h := newHouse(t, "POSTERN_LIMIT_NETWORK=100/10m", "POSTERN_LIMIT_ACCOUNT=1/1h")
	loose := h.policyOf(h.config.Limits, false)
	tight := h.policyOf(h.config.Limits, true)
	want := loose
	want.Network = limiter.Rate{Tokens: 50, Per: 10 * time.Minute}
	if tight.Network != want.Network || tight.Account != loose.Account || tight.Source != loose.Source || tight.Pair != loose.Pair || tight.Global != loose.Global {
		t.Errorf("got %+v", tight)
	}
	for _, off := range []limiter.Rate{{}, half(limiter.Rate{})} {
		if off != (limiter.Rate{}) {
			t.Errorf("a rule that is off became %v", off)
		}
	}
	h.tighten(true)
	h.tighten(true)
	next, err := h.read()
	if err != nil {
		t.Fatal(err)
	}
	next.Limits.Network = limiter.Rate{Tokens: 10, Per: time.Minute}
	if err := h.reload(next); err != nil {
		t.Fatal(err)
	}
	if !h.isTight() || h.inForce.limits.Network.Tokens != 10 || total1(t, h, "postern_detector_tightened") != 1 {
		t.Error("a reload loosened the limits, or its own are lost")
	}
	next.Limits.TableMax = 0
	if err := h.reload(next); err == nil || h.inForce.limits.TableMax == 0 {
		t.Errorf("wrong limits: %v", err)
	}
	h.tighten(false)
	if h.isTight() {
		t.Error("still tight")
	}
	h.log.await(t, "event=watch", "tight=true")
	h.log.await(t, "event=watch", "tight=false")
}

// total1 is the value of a metric without labels.
func total1(t *testing.T, h *testHouse, name string) float64 {
	t.Helper()
	return gather(t, h.metrics.registry)[name].GetMetric()[0].GetGauge().GetValue()
}
