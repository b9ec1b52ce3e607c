package dialogue

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

// maxSessionID bounds the session that a client names. Dovecot ignores a longer one, too.
const maxSessionID = 64

// The names of the fields, as they are written in ID.
const (
	fieldAddress = "x-originating-ip"
	fieldPort    = "x-originating-port"
	fieldSession = "x-session-id"
)

// forwardedFields collects the fields by which a client names another one that it connects for.
type forwardedFields struct {
	address, port, session string
	addresses              int // how many fields had an address
}

// set takes one field of ID.
func (f *forwardedFields) set(name, value []byte) {
	switch {
	case bytes.EqualFold(name, []byte(fieldAddress)):
		f.address = string(value)
		f.addresses++
	case bytes.EqualFold(name, []byte(fieldPort)):
		f.port = string(value)
	case bytes.EqualFold(name, []byte(fieldSession)) && len(value) <= maxSessionID:
		f.session = string(value)
	}
}

// xclientFields are the parameters of XCLIENT with the fields of ID that mean the same.
var xclientFields = map[string]string{"ADDR": fieldAddress, "PORT": fieldPort, "SESSION": fieldSession}

// setAll takes the parameters of XCLIENT. Those of other names are ignored.
func (f *forwardedFields) setAll(args []byte) {
	for parameter := range bytes.FieldsSeq(args) {
		name, value, _ := bytes.Cut(parameter, []byte{'='})
		f.set([]byte(xclientFields[strings.ToUpper(string(name))]), value)
	}
}

// report calls o.Forwarded, if there is an address in the fields, and returns its result.
// Without an address no client is named.
func (f *forwardedFields) report(o Offer, late bool) bool {
	if f.addresses == 0 || o.Forwarded == nil {
		return true
	}
	return o.Forwarded(Forwarded{Client: f.client(), Session: f.session, Late: late})
}

// client is the address in the fields. It is invalid if the text was none, and if there were
// several: only the client knows which of them it means.
func (f *forwardedFields) client() netip.AddrPort {
	addr, err := netip.ParseAddr(f.address)
	if err != nil || f.addresses > 1 {
		return netip.AddrPort{}
	}
	port, err := strconv.ParseUint(f.port, 10, 16)
	if err != nil {
		port = 0
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port))
}
