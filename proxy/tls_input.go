package proxy

import (
	"bytes"
	"crypto/tls"
	"net"
	"reflect"
)

// A tls.Conn keeps its input buffer for good: up to 16 KB once the peer has sent a
// full record. For a session that is idle for hours that is three times everything
// else. So the buffer is given back while it is empty. This file is all that looks
// into a tls.Conn. It touches no key and no state of the protocol, and does nothing
// where the field is not what it was in Go 1.26.

// inputField is where a tls.Conn has its input buffer, nil where that is not known.
var inputField = findInputField()

func findInputField() []int {
	field, ok := reflect.TypeFor[tls.Conn]().FieldByName("rawInput")
	if !ok || field.Type != reflect.TypeFor[bytes.Buffer]() {
		return nil
	}
	return field.Index
}

// releaseInput frees the input buffer of c if c is a TLS connection and the buffer
// is empty. It returns false if the buffer holds a part of a record. No other goroutine
// may read from c meanwhile.
func releaseInput(c net.Conn) bool {
	secure, ok := c.(*tls.Conn)
	if !ok || inputField == nil {
		return true
	}
	field := reflect.ValueOf(secure).Elem().FieldByIndex(inputField)
	buffer := reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Interface().(*bytes.Buffer)
	if buffer.Len() > 0 {
		return false
	}
	*buffer = bytes.Buffer{}
	return true
}
