package proxy

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// tlsBuffers is where a tls.Conn has the buffers it reads into. It keeps them at
// the size they once had, up to 44 KB after a client has sent a mail, for as long
// as the connection lasts, and has no method to give them back. Where a version
// of Go has no such fields there are no offsets, and nothing is given back.
var tlsBuffers = fieldOffsets[tls.Conn, bytes.Buffer]("rawInput", "hand")

// fieldOffsets finds those of the fields of an S that are an F.
func fieldOffsets[S, F any](names ...string) (offsets []uintptr) {
	for _, name := range names {
		field, ok := reflect.TypeFor[S]().FieldByName(name)
		if ok && field.Type == reflect.TypeFor[F]() {
			offsets = append(offsets, field.Offset)
		}
	}
	return offsets
}

// dropBuffers frees what c has read into, where nothing is left to read in it.
// Nobody may read c meanwhile.
func dropBuffers(c *tls.Conn) {
	for _, offset := range tlsBuffers {
		if b := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), offset)); b.Len() == 0 {
			*b = bytes.Buffer{}
		}
	}
}
