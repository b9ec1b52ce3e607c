package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/limiter"
)

// wanted is a source that is wanted for ten minutes and was listed long ago.
func wanted(addr string) Wanted {
	return Wanted{Source: limiter.Source(netip.MustParseAddr(addr)), Listed: began, Left: 10 * time.Minute}
}

// TestScriptMakesSetsEqual, in the order of the list, and observe mode has sets of its own.
func TestScriptMakesSetsEqual(t *testing.T) {
	observed, over := wanted("192.0.2.9"), wanted("192.0.2.8")
	observed.Observe, over.Left = true, 500*time.Millisecond
	var b, plain strings.Builder
	all := []Wanted{wanted("192.0.2.2"), wanted("2001:db8:1:2:3:4:5:6"), wanted("192.0.2.1"), observed, over}
	if err := WriteNFT(&b, all); err != nil {
		t.Fatal(err)
	}
	const want = `flush set inet postern block4
add element inet postern block4 { 192.0.2.2 timeout 600s, 192.0.2.1 timeout 600s }
flush set inet postern block6
add element inet postern block6 { 2001:db8:1:2:: timeout 600s }
flush set inet postern observe4
add element inet postern observe4 { 192.0.2.9 timeout 600s }
flush set inet postern observe6
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if err := WritePlain(&plain, all[:4]); err != nil || plain.String() != "192.0.2.2\n2001:db8:1:2::/64\n192.0.2.1\n" {
		t.Errorf("got %v\n%s", err, plain.String())
	}
}

// TestReadRefusesWhatNoGatewayPublishes: a gateway in the hands of an attacker must not have the
// firewall do anything else.
func TestReadRefusesWhatNoGatewayPublishes(t *testing.T) {
	good := Decision{Value: "192.0.2.1", Duration: "10m", CreatedAt: began}
	if all, err := Read(&Stream{New: []Decision{good}}); err != nil || len(all) != 1 || all[0] != wanted("192.0.2.1") {
		t.Fatalf("got %+v, %v", all, err)
	}
	for name, change := range map[string]func(*Decision){
		"network":        func(d *Decision) { d.Value = "192.0.2.0/24" },
		"everything":     func(d *Decision) { d.Value = "0.0.0.0/0" },
		"IPv6 address":   func(d *Decision) { d.Value = "2001:db8::1" },
		"IPv6 /48":       func(d *Decision) { d.Value = "2001:db8::/48" },
		"loopback":       func(d *Decision) { d.Value = "127.0.0.1" },
		"mapped address": func(d *Decision) { d.Value = "::ffff:192.0.2.1" },
		"zone":           func(d *Decision) { d.Value = "fe80::1%eth0" },
		"script":         func(d *Decision) { d.Value = "192.0.2.1 }\nflush ruleset\n" },
		"set":            func(d *Decision) { d.Value = "@x" },
		"empty":          func(d *Decision) { d.Value = "" },
		"two days":       func(d *Decision) { d.Duration = "48h" },
		"no duration":    func(d *Decision) { d.Duration = "for ever" },
	} {
		d := good
		change(&d)
		if all, err := Read(&Stream{New: []Decision{good, d}}); err == nil {
			t.Errorf("%s: got %+v, want an error", name, all)
		}
	}
	if _, err := Read(&Stream{New: make([]Decision, EntriesMax+1)}); err == nil {
		t.Error("too many: got no error")
	}
}

// TestCompareCountsWhatIsMissing.
func TestCompareCountsWhatIsMissing(t *testing.T) {
	now := began.Add(5 * time.Minute)
	fresh, observed := wanted("192.0.2.3"), wanted("192.0.2.4")
	fresh.Listed, observed.Observe = now.Add(-10*time.Second), true
	all := []Wanted{wanted("192.0.2.1"), wanted("2001:db8::1"), fresh, observed}
	set := func(table, name, typ, elements string) string {
		return fmt.Sprintf(`{"set":{"family":"inet","name":%q,"table":%q,"type":%q,"elem":[%s]}}`, name, table, typ, elements)
	}
	nft := func(sets ...string) string {
		return `{"nftables":[{"metainfo":{"version":"1.0.6"}},` + strings.Join(append(sets, `{"chain":{"name":"input"}}`), ",") + "]}"
	}
	const four, six = `{"elem":{"val":"192.0.2.1","timeout":600,"expires":5}}`, `{"elem":{"val":"2001:db8::","timeout":600}}`
	for name, tt := range map[string]struct {
		text string
		want Comparison
		line string
	}{
		"all": {nft(set("postern", "block4", "ipv4_addr", four), set("postern", "block6", "ipv6_addr", six), set("postern", "observe4", "ipv4_addr", `"192.0.2.4"`)),
			Comparison{Wanted: 3}, "the firewall has 3 of 3 listed sources"},
		"none": {nft(set("postern", "block4", "ipv4_addr", ""), set("postern", "observe4", "ipv4_addr", "")),
			Comparison{Wanted: 3, Missing: 3}, "the firewall has 0 of 3 listed sources; missing: 3"},
		"an observed one is blocked": {nft(set("postern", "block4", "ipv4_addr", four+`,"192.0.2.4"`), set("postern", "block6", "ipv6_addr", six)),
			Comparison{Wanted: 2, Surplus: 1}, "the firewall has 2 of 2 listed sources; not listed: 1"},
		"sets of the bouncer": {nft(set("crowdsec", "crowdsec-blacklists", "ipv4_addr", four), set("x", "ports", "inet_service", "993")),
			Comparison{Wanted: 2, Missing: 1}, "the firewall has 1 of 2 listed sources; missing: 1"},
		"networks and ranges": {nft(set("x", "y", "ipv6_addr", `{"prefix":{"addr":"2001:db8::","len":64}},{"range":["2001:db9::","2001:dba::"]}`)),
			Comparison{Wanted: 2, Missing: 1}, "the firewall has 1 of 2 listed sources; missing: 1"},
		"no sets": {nft(), Comparison{Wanted: 2, Missing: 2}, "the firewall has 0 of 2 listed sources; missing: 2"},
		"plain":   {"192.0.2.1\n\n2001:db8::/64\n192.0.2.3\n", Comparison{Wanted: 3}, "the firewall has 3 of 3 listed sources"},
		"empty":   {"", Comparison{Wanted: 2, Missing: 2}, "the firewall has 0 of 2 listed sources; missing: 2"},
	} {
		got, err := Compare(now, all, []byte(tt.text))
		if err != nil || got != tt.want || got.String() != tt.line || got.OK() != (tt.want.Missing == 0) {
			t.Errorf("%s: got %+v, %q, %v; want %+v, %q", name, got, got, err, tt.want, tt.line)
		}
	}
	for _, wrong := range []string{"{", `{"nftables":[` + set("x", "y", "ipv4_addr", `"nonsense"`) + `]}`, "nonsense\n", `{"nftables":[` + set("x", "y", "ipv4_addr", `7`) + `]}`} {
		if _, err := Compare(now, all, []byte(wrong)); err == nil {
			t.Errorf("%s: got no error", wrong)
		}
	}
}
