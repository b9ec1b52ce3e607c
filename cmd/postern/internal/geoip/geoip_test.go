package geoip

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// write writes an MMDB file to path that says record of 192.0.2.0/24.
func write(t *testing.T, path string, record mmdbtype.Map) {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test", RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Insert(mustNetwork(t, "192.0.2.0/24"), record); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCountry reads the forms of several vendors, and nothing that is no code of a country.
func TestCountry(t *testing.T) {
	for name, tt := range map[string]struct {
		record mmdbtype.Map
		want   string
	}{
		"GeoLite2 and DB-IP": {mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("NO")}}, "NO"},
		"IPinfo":             {mmdbtype.Map{"country_code": mmdbtype.String("no"), "country": mmdbtype.String("Norway")}, "NO"},
		"no country":         {mmdbtype.Map{"continent": mmdbtype.String("EU")}, ""},
		"no code":            {mmdbtype.Map{"country_code": mmdbtype.String("\x1b[")}, ""},
		"a number":           {mmdbtype.Map{"country_code": mmdbtype.Uint32(47)}, ""},
	} {
		path := filepath.Join(t.TempDir(), "country.mmdb")
		write(t, path, tt.record)
		d, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for addr, want := range map[string]string{"192.0.2.1": tt.want, "::ffff:192.0.2.1": tt.want, "198.51.100.1": "", "2001:db8::1": ""} {
			if got := d.Country(netip.MustParseAddr(addr)); got != want {
				t.Errorf("%s: %s: got %q, want %q", name, addr, got, want)
			}
		}
	}
}

// TestRefresh reads a file that has changed, and keeps what it knows if the file is damaged or
// gone.
func TestRefresh(t *testing.T) {
	addr, path := netip.MustParseAddr("192.0.2.1"), filepath.Join(t.TempDir(), "asn.mmdb")
	d, err := Open(path)
	if number, _ := d.System(addr); err == nil || number != 0 {
		t.Errorf("without a file: got %v and %d", err, number)
	}
	set := func(number uint32, name string) {
		write(t, path, mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(number), "autonomous_system_organization": mmdbtype.String(name)})
	}
	want := func(number uint32, name string) {
		t.Helper()
		if gotNumber, gotName := d.System(addr); gotNumber != number || gotName != name {
			t.Errorf("got %d %q, want %d %q", gotNumber, gotName, number, name)
		}
	}
	set(64496, "One\x1b[2J")
	if err := d.Refresh(); err != nil {
		t.Fatal(err)
	}
	want(64496, "One [2J")
	set(64497, "Another")
	if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := d.Refresh(); err != nil {
		t.Fatal(err)
	}
	want(64497, "Another")
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Refresh(); err == nil {
		t.Error("a damaged file was read")
	}
	want(64497, "Another")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := d.Refresh(); err == nil {
		t.Error("a file that is gone was read")
	}
	want(64497, "Another")
}

// TestNoDatabase: without a file nothing is known.
func TestNoDatabase(t *testing.T) {
	var d *Database
	if number, name := d.System(netip.MustParseAddr("192.0.2.1")); number != 0 || name != "" || d.Country(netip.Addr{}) != "" {
		t.Errorf("got %d %q", number, name)
	}
}

// mustNetwork parses a network.
func mustNetwork(t *testing.T, text string) *net.IPNet {
	t.Helper()
	_, n, err := net.ParseCIDR(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
