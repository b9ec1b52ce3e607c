package limiter

import (
	"regexp"
	"slices"
	"testing"
	"time"
)

func TestStricter(t *testing.T) {
	wait2, wait4 := waiting(RuleSource, 2*time.Second), waiting(RuleNetwork, 4*time.Second)
	for _, tc := range []struct{ a, b, want Verdict }{
		{pass, pass, pass},
		{pass, wait2, wait2},
		{wait2, wait4, wait4},
		{wait4, refusal(RuleGlobal), refusal(RuleGlobal)},
		{pass, refusal(RuleSource), refusal(RuleSource)},
	} {
		if got := stricter(tc.a, tc.b); got != tc.want {
			t.Errorf("stricter(%v, %v) = %v, want %v", tc.a, tc.b, got, tc.want)
		}
		if got := stricter(tc.b, tc.a); got != tc.want {
			t.Errorf("stricter(%v, %v) = %v, want %v", tc.b, tc.a, got, tc.want)
		}
	}
	if got := stricter(refusal(RuleSource), refusal(RuleGlobal)); got.Rule != RuleSource {
		t.Errorf("of equal verdicts got %s, want the first", got.Rule)
	}
}

func TestWaitOfZeroIsPass(t *testing.T) {
	if got := waiting(RuleSource, 0); got != pass {
		t.Errorf("waiting(source, 0) = %v, want %v", got, pass)
	}
}

func TestStrings(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{Pass.String(), "pass"}, {Wait.String(), "wait"}, {Repeat.String(), "repeat"}, {Refuse.String(), "refuse"},
		{Void.String(), "void"}, {Denied.String(), "denied"}, {Accepted.String(), "accepted"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
	if unset := *new(Outcome); unset != Void {
		t.Error("the zero Outcome must be void")
	}
}

func TestRulesAreAFixedSetOfLabels(t *testing.T) {
	rules := Rules()
	if len(rules) != 17 || len(slices.Compact(slices.Sorted(slices.Values(rules)))) != len(rules) {
		t.Errorf("Rules() = %v, want seventeen different ones", rules)
	}
	for _, r := range rules {
		if !regexp.MustCompile(`^[a-z_]+$`).MatchString(string(r)) {
			t.Errorf("rule %q is not a valid metric label", r)
		}
	}
	rules[0] = "changed"
	if Rules()[0] != RuleNone {
		t.Error("changing the result of Rules changes the rules")
	}
}
