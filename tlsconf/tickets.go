package tlsconf

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
)

// ticketKeySize is the size of a session ticket key in octets.
const ticketKeySize = 32

// parseTicketKeys reads the format described at [Config]. Errors tell the line
// but never show it, since it may hold most of a key.
func parseTicketKeys(data []byte) ([][ticketKeySize]byte, error) {
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
		return nil, errors.New("no key in it")
	}
	return keys, nil
}

// parseTicketKey decodes one key. The size is checked first because the
// decoder skips line breaks, lone CRs among them, wherever they stand.
func parseTicketKey(line []byte) (key [ticketKeySize]byte, err error) {
	if len(line) == base64.StdEncoding.EncodedLen(ticketKeySize) {
		var raw [ticketKeySize + 1]byte // room for a key without padding
		n, err := base64.StdEncoding.Strict().Decode(raw[:], line)
		if err == nil && n == ticketKeySize {
			return [ticketKeySize]byte(raw[:]), nil
		}
	}
	return key, errors.New("want 32 octets in base64, as from openssl rand -base64 32")
}
