// Package geoip says in which country an address is used, and which autonomous
// system announces it, from files in the format MMDB: GeoLite2, DB-IP or IPinfo.
//
// A file is read into memory as a whole. With a mapped file, the process would end
// if another program made the file shorter, and a login might wait for the disk.
package geoip

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"postern/cmd/postern/internal/eventlog"
)

// sizeMax bounds a file, in octets. Those with countries and systems have 10 to 60 MB.
const sizeMax = 512 << 20

// A Database is one MMDB file. The methods may be called by several goroutines.
// Those that look up may be called on a nil Database, which knows nothing.
type Database struct {
	path   string
	reader atomic.Pointer[maxminddb.Reader]

	reading sync.Mutex
	read    version // of the file that was read last
}

// version identifies the content of a file.
type version struct {
	changed time.Time
	size    int64
}

// versionOf returns the version of a file.
func versionOf(info fs.FileInfo) version { return version{info.ModTime(), info.Size()} }

// Open reads the file at path. After an error the Database knows nothing, until a
// Refresh can read the file.
func Open(path string) (*Database, error) {
	d := &Database{path: path}
	return d, d.Refresh()
}

// Refresh reads the file again if it has changed. If that fails, what was read
// before stays in use, and the next call tries again.
func (d *Database) Refresh() error {
	d.reading.Lock()
	defer d.reading.Unlock()
	info, err := os.Stat(d.path)
	switch {
	case err != nil:
		return fmt.Errorf("read MMDB file: %w", err)
	case versionOf(info) == d.read:
		return nil
	case info.Size() > sizeMax:
		return fmt.Errorf("read MMDB file %s: got %d octets, want at most %d", d.path, info.Size(), sizeMax)
	}
	data, err := os.ReadFile(d.path)
	if err != nil {
		return fmt.Errorf("read MMDB file: %w", err)
	}
	r, err := maxminddb.OpenBytes(data)
	if err != nil {
		return fmt.Errorf("read MMDB file %s: %w", d.path, err)
	}
	d.reader.Store(r)
	d.read = versionOf(info)
	return nil
}

// System returns the autonomous system that announces addr: its number, zero if
// that is unknown, and its name.
func (d *Database) System(addr netip.Addr) (number uint32, name string) {
	r, ok := d.lookup(addr)
	if !ok {
		return 0, ""
	}
	var system struct {
		Number uint32 `maxminddb:"autonomous_system_number"`
		Name   string `maxminddb:"autonomous_system_organization"`
	}
	if r.Decode(&system) != nil {
		return 0, ""
	}
	return system.Number, eventlog.StripControl(system.Name)
}

// Country returns the country in which addr is used: two upper-case letters (ISO
// 3166-1), empty if that is unknown.
func (d *Database) Country(addr netip.Addr) string {
	r, ok := d.lookup(addr)
	if !ok {
		return ""
	}
	for _, path := range [][]any{{"country", "iso_code"}, {"country_code"}} { // GeoLite2 and DB-IP; IPinfo
		var code string
		if r.DecodePath(&code, path...) != nil {
			continue
		}
		if code = strings.ToUpper(code); len(code) == 2 && isLetter(code[0]) && isLetter(code[1]) {
			return code
		}
	}
	return ""
}

// isLetter reports whether c is an upper-case letter of ASCII.
func isLetter(c byte) bool { return 'A' <= c && c <= 'Z' }

// lookup finds the record of addr.
func (d *Database) lookup(addr netip.Addr) (r maxminddb.Result, ok bool) {
	if d == nil || !addr.IsValid() {
		return r, false
	}
	reader := d.reader.Load()
	if reader == nil {
		return r, false
	}
	r = reader.Lookup(addr.Unmap())
	return r, r.Err() == nil && r.Found()
}
