package tlsconf

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"os"
	"time"
)

// contents holds the contents of all files of a Config, in its order, and a digest to
// compare one reading with the next.
type contents struct {
	certs, keys [][]byte
	tickets     []byte
	digest      [sha256.Size]byte
}

// read reads every file of c. It returns the first error, a *ConfigError.
func read(c Config) (*contents, error) {
	d := new(contents)
	digest := sha256.New()
	get := func(field, what, file string) ([]byte, error) {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, configError(field, "read %s: %w", what, err) // err names the file
		}
		// With the length, moving octets from the end of one file to the
		// beginning of the next changes the digest.
		digest.Write(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
		digest.Write(data)
		return data, nil
	}
	for i := range c.Certs {
		cert, err := get("Certs", "certificate", c.Certs[i])
		if err != nil {
			return nil, err
		}
		key, err := get("Keys", "private key", c.Keys[i])
		if err != nil {
			return nil, err
		}
		d.certs, d.keys = append(d.certs, cert), append(d.keys, key)
	}
	if c.TicketKeyFile != "" {
		var err error
		if d.tickets, err = get("TicketKeyFile", "session ticket keys", c.TicketKeyFile); err != nil {
			return nil, err
		}
	}
	digest.Sum(d.digest[:0])
	return d, nil
}

// material is the parsed content of one reading. It never changes.
type material struct {
	names    names
	tickets  [][ticketKeySize]byte // of the file; empty without one
	notAfter time.Time             // the earliest of the leaf certificates
	digest   [sha256.Size]byte
}

// parse parses d, which was read from the files of c. Its error is a *ConfigError
// that names the file, or both files of a pair.
func parse(c Config, d *contents) (*material, error) {
	m := &material{digest: d.digest}
	var pairs []*tls.Certificate
	for i := range d.certs {
		pair, err := tls.X509KeyPair(d.certs[i], d.keys[i])
		if err != nil {
			return nil, configError("Certs", "load certificate %s with key %s: %w", c.Certs[i], c.Keys[i], err)
		}
		if end := pair.Leaf.NotAfter; i == 0 || end.Before(m.notAfter) {
			m.notAfter = end
		}
		pairs = append(pairs, &pair)
	}
	m.names = index(pairs)
	if c.TicketKeyFile != "" {
		var err error
		if m.tickets, err = ParseTicketKeys(d.tickets); err != nil {
			return nil, configError("TicketKeyFile", "read session ticket keys %s: %w", c.TicketKeyFile, err)
		}
	}
	return m, nil
}
