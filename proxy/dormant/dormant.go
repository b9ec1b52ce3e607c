// Package dormant puts TLS connections of the server's side to sleep.
//
// What crypto/tls keeps for a connection takes 3 KB, and 44 KB once a client has
// sent a mail, for as long as the connection lasts. While nothing moves, all that
// matters of it in TLS 1.3 are two traffic secrets and two sequence numbers (RFC
// 8446 section 5.3 and 7.3): a Session, a tenth of a kilobyte or two.
//
// crypto/tls has no method for that. So this package knows the fields of a tls.Conn,
// those of the versions of Go that it was written for. It compares them when the
// program starts, every name, type and offset, and where one differs nothing is
// put to sleep: that costs memory and nothing else, and a test tells.
package dormant

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"hash"
	"net"
)

// Session is a TLS 1.3 connection that sleeps.
type Session struct {
	config    *tls.Config
	in, out   half
	bytesSent int64
	suite     uint16
	retries   uint8
}

// half is one direction.
type half struct {
	seq    [8]byte
	nonce  [12]byte
	secret [sha512.Size384]byte // or less of it
}

// Trim frees what c has read into, where nothing is left to read in it. Nobody may
// read c meanwhile.
func Trim(c *tls.Conn) {
	if !known {
		return
	}
	m := fieldsOf(c)
	for _, b := range []*bytes.Buffer{&m.rawInput, &m.hand} {
		if b.Len() == 0 {
			*b = bytes.Buffer{}
		}
	}
}

// Sleep returns what it takes to go on with c later. From then on c must not be
// used. It returns nil if c cannot sleep: because it is no server's, not in TLS 1.3
// with AES, in the middle of something, or has failed or ended. Nobody may use c
// meanwhile.
func Sleep(c *tls.Conn) *Session {
	if !known {
		return nil
	}
	m := fieldsOf(c)
	suite := suites[m.cipherSuite]
	if suite.hash == nil || !m.rests() {
		return nil
	}
	s := &Session{config: m.config, suite: m.cipherSuite, bytesSent: m.bytesSent, retries: uint8(m.retryCount)}
	if !s.in.keep(&m.in) || !s.out.keep(&m.out) {
		return nil
	}
	return s
}

// Wake returns the connection that was put to sleep, on conn. The Session must not
// be used again: two that use the same keys would betray what they say.
func (s *Session) Wake(conn net.Conn) *tls.Conn {
	c := tls.Server(conn, s.config)
	m := fieldsOf(c)
	m.vers, m.haveVers, m.cipherSuite, m.handshakes = tls.VersionTLS13, true, s.suite, 1
	m.bytesSent, m.retryCount = s.bytesSent, int(s.retries)
	suite := suites[s.suite]
	s.in.restore(&m.in, suite)
	s.out.restore(&m.out, suite)
	m.isHandshakeComplete.Store(true)
	return c
}

// rests says whether nothing is under way in a connection.
func (m *fields) rests() bool {
	return m.isHandshakeComplete.Load() && m.handshakeErr == nil && m.vers == tls.VersionTLS13 && !m.isClient && m.quic == nil &&
		m.in.err == nil && m.out.err == nil && !m.closeNotifySent && m.closeNotifyErr == nil &&
		m.rawInput.Len() == 0 && m.hand.Len() == 0 && m.input.Len() == 0 && !m.buffering && len(m.sendBuf) == 0 && m.activeCall.Load() == 0
}

// suite is how keys are made in a cipher suite.
type suite struct {
	hash func() hash.Hash
	key  int // octets
}

var suites = map[uint16]suite{
	tls.TLS_AES_128_GCM_SHA256: {sha256.New, 16},
	tls.TLS_AES_256_GCM_SHA384: {sha512.New384, 32},
}

// keep notes what hc will need again, and says whether that is all.
func (h *half) keep(hc *halfConn) bool {
	aead := nonceAEADOf(hc.cipher)
	if aead == nil || hc.mac != nil || hc.nextCipher != nil || len(hc.trafficSecret) > len(h.secret) {
		return false
	}
	h.seq, h.nonce = hc.seq, aead.nonceMask
	copy(h.secret[:], hc.trafficSecret)
	return true
}

// restore makes hc what it was.
func (h *half) restore(hc *halfConn, s suite) {
	hc.version, hc.level, hc.seq = tls.VersionTLS13, tls.QUICEncryptionLevelApplication, h.seq
	hc.trafficSecret = append([]byte(nil), h.secret[:s.hash().Size()]...)
	hc.cipher = newNonceAEAD(h.nonce, s.aead(hc.trafficSecret))
}

// aead is the cipher under a traffic secret (RFC 8446 section 7.3).
func (s suite) aead(secret []byte) cipher.AEAD {
	const label = "tls13 key"
	info := string([]byte{0, byte(s.key), byte(len(label))}) + label + "\x00" // HkdfLabel, section 7.1
	key, err := hkdf.Expand(s.hash, secret, info, s.key)
	if err != nil {
		panic("expand a traffic secret: " + err.Error()) // only for keys of 8 KB
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("make an AES cipher: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("make a GCM cipher: " + err.Error())
	}
	return aead
}
