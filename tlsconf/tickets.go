package tlsconf

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
)

// ticketKeySize is the size of a session ticket key in octets.
const ticketKeySize = 32

// ParseTicketKeys parses the format described at [Config.TicketKeyFile]. Errors have the
// number of the line but not its text, which may be most of a key.
func ParseTicketKeys(data []byte) ([][ticketKeySize]byte, error) {
	var keys [][ticketKeySize]byte
	number := 0
	for line := range bytes.Lines(data) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := parseTicketKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("got no key, want at least 1")
	}
	return keys, nil
}

// parseTicketKey decodes one key. It checks the length first because the decoder skips
// CR and LF anywhere in its input.
func parseTicketKey(line []byte) (key [ticketKeySize]byte, err error) {
	const format = "32 octets in base64, as printed by openssl rand -base64 32"
	if want := base64.StdEncoding.EncodedLen(ticketKeySize); len(line) != want {
		return key, fmt.Errorf("got %d characters, want %d: %s", len(line), want, format)
	}
	var raw [ticketKeySize + 1]byte // a line without padding decodes to one octet more
	n, err := base64.StdEncoding.Strict().Decode(raw[:], line)
	if err != nil || n != ticketKeySize {
		return key, fmt.Errorf("got another format, want %s", format)
	}
	return [ticketKeySize]byte(raw[:]), nil
}
