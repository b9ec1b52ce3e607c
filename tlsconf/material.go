package tlsconf

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"os"
	"time"
)

// contents are the octets of all files of a Config, in its order, and a digest
// of them that tells one reading from another.
type contents struct {
	certs, keys [][]byte
	tickets     []byte
	digest      [sha256.Size]byte
}

// read fetches every file of c and gives up at the first that fails.
func read(c Config) (*contents, error) {
	d := new(contents)
	digest := sha256.New()
	get := func(what, file string) ([]byte, error) {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err) // err names the file
		}
		// The length marks where a file ends, so that moving octets from one
		// file to the next changes the digest.
		digest.Write(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
		digest.Write(data)
		return data, nil
	}
	for i := range c.Certs {
		cert, err := get("certificate", c.Certs[i])
		if err != nil {
			return nil, err
		}
		key, err := get("private key", c.Keys[i])
		if err != nil {
			return nil, err
		}
		d.certs, d.keys = append(d.certs, cert), append(d.keys, key)
	}
	if c.TicketKeyFile != "" {
		var err error
		if d.tickets, err = get("ticket keys", c.TicketKeyFile); err != nil {
			return nil, err
		}
	}
	digest.Sum(d.digest[:0])
	return d, nil
}

// material is what the files held at one reading. It never changes.
type material struct {
	names    names
	tickets  [][32]byte // empty: crypto/tls makes and rotates its own
	notAfter time.Time
	digest   [sha256.Size]byte
}

// parse makes sense of d, which was read from the files of c. Errors name the
// file, or the two that do not belong together.
func parse(c Config, d *contents) (*material, error) {
	m := &material{digest: d.digest}
	var pairs []*tls.Certificate
	for i := range d.certs {
		pair, err := tls.X509KeyPair(d.certs[i], d.keys[i])
		if err != nil {
			return nil, fmt.Errorf("load certificate %s with key %s: %w", c.Certs[i], c.Keys[i], err)
		}
		if end := pair.Leaf.NotAfter; i == 0 || end.Before(m.notAfter) {
			m.notAfter = end
		}
		pairs = append(pairs, &pair)
	}
	m.names = index(pairs)
	if c.TicketKeyFile != "" {
		var err error
		if m.tickets, err = parseTicketKeys(d.tickets); err != nil {
			return nil, fmt.Errorf("read ticket keys %s: %w", c.TicketKeyFile, err)
		}
	}
	return m, nil
}
