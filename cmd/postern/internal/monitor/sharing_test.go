package monitor

import (
	"strings"
	"testing"
	"time"
)

func TestEvaluateSharing(t *testing.T) {
	since := time.Date(2026, 3, 29, 11, 5, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		sharing Sharing
		level   Level
		text    string
	}{
		"two gateways":    {Sharing{Mode: Shared, Members: make([]Member, 2)}, OK, "4 of 4 backends up, counts together with 1 other gateway"},
		"three gateways":  {Sharing{Mode: Shared, Members: make([]Member, 3)}, OK, "4 of 4 backends up, counts together with 2 other gateways"},
		"the only one":    {Sharing{Mode: Shared, Members: make([]Member, 1)}, OK, "4 of 4 backends up, counts together with 0 other gateways"},
		"joining":         {Sharing{Mode: Joining}, OK, "4 of 4 backends up, joining the other gateways"},
		"alone":           {Sharing{Mode: Alone, Since: since, Engine: "redis://e:6379"}, Warning, "counts alone since 11:05 UTC: the engine at redis://e:6379 cannot be used"},
		"alone, why":      {Sharing{Mode: Alone, Since: since, Engine: "redis://e:6379", LastError: "refused"}, Warning, "e:6379 cannot be used (refused)"},
		"two of one name": {Sharing{Mode: Shared, Warning: "two gateways have the name a"}, Warning, "sharing: two gateways have the name a"},
	} {
		s := healthy()
		s.Sharing = &tt.sharing
		if level, text := s.Evaluate(limits); level != tt.level || !strings.HasSuffix(text, tt.text) {
			t.Errorf("%s: got %v, %q; want %v, %q", name, level, text, tt.level, tt.text)
		}
	}
}
