package limiter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/dchest/siphash"
)

// A Key is the secret of one installation: 32 random octets. Without it, what a [Limiter] stores is useless, and nobody
// can choose which entries of its table collide. A snapshot can only be restored under the key it was made with.
type Key [32]byte

// derive returns the key for one purpose.
func (k Key) derive(purpose string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("postern " + purpose))
	return [sha256.Size]byte(mac.Sum(nil))
}

// A Credential identifies an account together with a secret. The zero value means that no secret was shown: SCRAM,
// CRAM-MD5 and OAuth hide or change the secret, so such attempts can be known by address alone and are never repeats.
type Credential [16]byte

// shown reports whether c stands for a secret.
func (c Credential) shown() bool {
	return c != Credential{}
}

// Credential returns the credential of account and secret: their HMAC-SHA-256 under the key of l, cut to 16 octets. At
// most 16 bits of it are ever stored. Credential keeps no copy of secret and does not wipe it.
func (l *Limiter) Credential(account string, secret []byte) Credential {
	d := l.digests.Get().(*digest)
	defer d.release(&l.digests)
	name := l.hasher.account(account) // of fixed length, so that (ab, c) and (a, bc) differ
	d.mac.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(d.octets[:0], name.hi), name.lo))
	d.mac.Write(secret)
	return Credential(d.mac.Sum(d.octets[:0])[:len(Credential{})])
}

// A digest makes one credential at a time. Reusing it costs a third of making a new HMAC, and allocates nothing.
type digest struct {
	mac    hash.Hash
	octets [sha256.Size]byte // of the name, then of the sum
}

func newDigest(key []byte) *digest {
	d := &digest{mac: hmac.New(sha256.New, key)}
	d.mac.Reset() // from the first Reset on, hmac saves its initial state and Reset restores it
	return d
}

// release wipes d and returns it to pool.
func (d *digest) release(pool *sync.Pool) {
	d.mac.Reset()
	clear(d.octets[:])
	pool.Put(d)
}

// A kind says what an entry of the table counts.
type kind uint8

const (
	kindNone    kind = iota // an empty entry
	kindSource              // denials and connections of a source
	kindNetwork             // denials of a network
	kindPair                // denials of a source, or of a network, on one account
	kindAccount             // denials of strangers on one account
	kindRepeat              // one credential denied from one source
	kindUse                 // logins of a source to one account that was accepted from there
	kindCount
)

// A key finds an entry: 128 bits of SipHash under a secret, over the kind and what the entry stands for. Without the
// secret, nobody can construct a collision with the entry of another, or fill one part of the table.
type key struct{ hi, lo uint64 }

// hasher makes keys.
type hasher struct{ k0, k1 uint64 }

func (h hasher) sum(b []byte) key {
	hi, lo := siphash.Hash128(h.k0, h.k1, b)
	return key{hi, lo}
}

// blockLen is the length of a block in a key: address and prefix length.
const blockLen = 17

func appendBlock(b []byte, p netip.Prefix) []byte {
	addr := p.Addr().As16() // IPv4 and IPv6 blocks cannot collide: their prefix lengths differ
	if !p.IsValid() {
		addr = [16]byte{}
	}
	return append(append(b, addr[:]...), byte(p.Bits()))
}

// block returns the key of a source or a network.
func (h hasher) block(k kind, p netip.Prefix) key {
	var b [1 + blockLen]byte
	return h.sum(appendBlock(append(b[:0], byte(k)), p))
}

// accountMax is how many octets of a name count. No mail address is longer.
const accountMax = 320

// account returns the key of the account with the given name, ignoring case.
func (h hasher) account(name string) key {
	var b [1 + accountMax + utf8.UTFMax]byte
	return h.sum(appendFolded(append(b[:0], byte(kindAccount)), name))
}

// appendFolded appends at most accountMax octets of name in lower case.
func appendFolded(b []byte, name string) []byte {
	for _, r := range name {
		if len(b) > accountMax {
			break
		}
		b = utf8.AppendRune(b, unicode.ToLower(r))
	}
	return b
}

// pair returns the key of kind k for an account and a block, and for a repeat also a credential.
func (h hasher) pair(k kind, account key, p netip.Prefix, c Credential) key {
	var b [1 + 16 + blockLen + len(c)]byte
	s := append(b[:0], byte(k))
	s = binary.BigEndian.AppendUint64(s, account.hi)
	s = binary.BigEndian.AppendUint64(s, account.lo)
	s = appendBlock(s, p)
	if k == kindRepeat {
		s = append(s, c[:]...)
	}
	return h.sum(s)
}
