package notices

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// writeMMDB writes an MMDB file with what records say of networks and returns its path.
func writeMMDB(t testing.TB, records map[string]mmdbtype.Map) string {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test", RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for network, record := range records {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Insert(n, record); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "test.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := w.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// CountryFile writes a file with Norway, Brazil and Kenya: the first two in the form of
// GeoLite2, the last in that of IPinfo.
func CountryFile(t testing.TB) string {
	in := func(code string) mmdbtype.Map {
		return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}
	}
	return writeMMDB(t, map[string]mmdbtype.Map{
		"203.0.113.0/24": in("NO"), "198.51.100.0/24": in("BR"), "2001:db8:254::/48": {"country_code": mmdbtype.String("KE")},
	})
}

// SystemFile writes a file with four operators, two of them in Norway.
func SystemFile(t testing.TB) string {
	of := func(number uint32, name string) mmdbtype.Map {
		return mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(number), "autonomous_system_organization": mmdbtype.String(name)}
	}
	return writeMMDB(t, map[string]mmdbtype.Map{
		"203.0.113.0/25": of(64496, "Norsk Telenett"), "203.0.113.128/25": of(64498, "Fjordnett"),
		"198.51.100.0/24": of(64497, "Rede Exemplo"), "2001:db8:254::/48": of(64499, "Mtandao"),
	})
}
