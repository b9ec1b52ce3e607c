package dormant

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"hash"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"unsafe"
)

// fields are those of a tls.Conn, as of Go 1.26.
type fields struct {
	conn                  net.Conn
	isClient              bool
	handshakeFn           func(context.Context) error
	quic                  *opaque
	isHandshakeComplete   atomic.Bool
	handshakeMutex        sync.Mutex
	handshakeErr          error
	vers                  uint16
	haveVers              bool
	config                *tls.Config
	handshakes            int
	extMasterSecret       bool
	didResume             bool
	didHRR                bool
	cipherSuite           uint16
	curveID               tls.CurveID
	peerSigAlg            tls.SignatureScheme
	ocspResponse          []byte
	scts                  [][]byte
	peerCertificates      []*x509.Certificate
	verifiedChains        [][]*x509.Certificate
	serverName            string
	secureRenegotiation   bool
	ekm                   func(label string, context []byte, length int) ([]byte, error)
	resumptionSecret      []byte
	echAccepted           bool
	ticketKeys            []opaque
	clientFinishedIsFirst bool
	closeNotifyErr        error
	closeNotifySent       bool
	clientFinished        [12]byte
	serverFinished        [12]byte
	clientProtocol        string
	in, out               halfConn
	rawInput              bytes.Buffer
	input                 bytes.Reader
	hand                  bytes.Buffer
	buffering             bool
	sendBuf               []byte
	bytesSent             int64
	packetsSent           int64
	retryCount            int
	activeCall            atomic.Int32
	tmp                   [16]byte
}

// halfConn is one direction in a tls.Conn.
type halfConn struct {
	sync.Mutex
	err           error
	version       uint16
	cipher        any
	mac           hash.Hash
	seq           [8]byte
	scratchBuf    [13]byte
	nextCipher    any
	nextMac       hash.Hash
	level         tls.QUICEncryptionLevel
	trafficSecret []byte
}

// nonceAEAD is the cipher of a halfConn in TLS 1.3.
type nonceAEAD struct {
	nonceMask [12]byte
	aead      cipher.AEAD
}

// opaque stands for a type that crypto/tls does not show and that is not looked into.
type opaque struct{ _ byte }

// known says whether a tls.Conn has the fields that this package knows. In FIPS
// mode crypto/tls has ciphers of another kind.
var known = same(reflect.TypeFor[tls.Conn](), reflect.TypeFor[fields]()) && !fips140.Enabled()

// fieldsOf gives access to the fields of c.
func fieldsOf(c *tls.Conn) *fields { return (*fields)(unsafe.Pointer(c)) }

// same says whether mine is laid out as theirs.
func same(theirs, mine reflect.Type) bool {
	switch {
	case theirs == mine:
		return true
	case theirs.Kind() != mine.Kind() || theirs.Size() != mine.Size():
		return false
	case mine.Kind() == reflect.Pointer || mine.Kind() == reflect.Slice:
		return mine.Elem() == reflect.TypeFor[opaque]()
	case mine.Kind() != reflect.Struct || theirs.NumField() != mine.NumField():
		return false
	}
	for i := range mine.NumField() {
		their, my := theirs.Field(i), mine.Field(i)
		if their.Name != my.Name || their.Offset != my.Offset || !same(their.Type, my.Type) {
			return false
		}
	}
	return true
}

// nonceAEADType is what crypto/tls calls a nonceAEAD, a reflect.Type; nil until one
// was seen.
var nonceAEADType atomic.Value

// nonceAEADOf returns the cipher of a halfConn, nil if it is of another kind.
func nonceAEADOf(cipher any) *nonceAEAD {
	t := reflect.TypeOf(cipher)
	if t == nil || t.Kind() != reflect.Pointer {
		return nil
	}
	if seen := nonceAEADType.Load(); seen != t {
		if seen != nil || !same(t.Elem(), reflect.TypeFor[nonceAEAD]()) {
			return nil
		}
		nonceAEADType.Store(t)
	}
	return (*nonceAEAD)(reflect.ValueOf(cipher).UnsafePointer())
}

// newNonceAEAD returns the cipher of a halfConn.
func newNonceAEAD(nonceMask [12]byte, aead cipher.AEAD) any {
	v := reflect.New(nonceAEADType.Load().(reflect.Type).Elem())
	*(*nonceAEAD)(v.UnsafePointer()) = nonceAEAD{nonceMask, aead}
	return v.Interface()
}
