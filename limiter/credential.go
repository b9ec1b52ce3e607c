package limiter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// A Key is the secret of one installation: random octets that make everything a [Limiter] stores useless elsewhere and
// its table impossible to aim at. Whoever keeps a snapshot must keep the key it was made under.
type Key [32]byte

// derive returns the key for one purpose.
func (k Key) derive(purpose string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("postern " + purpose))
	return [sha256.Size]byte(mac.Sum(nil))
}

// A Credential tells an account with a secret from the same account with another. The zero value says that none was
// shown: SCRAM, CRAM-MD5 and OAuth hide or change the secret, so such attempts are known by address alone and never
// repeats.
type Credential [16]byte

// shown reports whether c stands for a secret.
func (c Credential) shown() bool {
	return c != Credential{}
}

// Credential returns what stands for account with secret: their HMAC-SHA-256 under the key of l, cut to 16 octets. No
// more than 16 bits of it are ever stored. The caller wipes secret.
func (l *Limiter) Credential(account string, secret []byte) Credential {
	d := l.digests.Get().(*digest)
	defer d.free(&l.digests)
	name := l.hasher.account(account) // of one length, so that nothing can move between name and secret
	d.mac.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(d.octets[:0], name.hi), name.lo))
	d.mac.Write(secret)
	return Credential(d.mac.Sum(d.octets[:0])[:len(Credential{})])
}

// A digest makes one credential at a time. Made once, its HMAC costs a third, and no memory.
type digest struct {
	mac    hash.Hash
	octets [sha256.Size]byte // of the name, then of the sum
}

func newDigest(key []byte) *digest {
	d := &digest{mac: hmac.New(sha256.New, key)}
	d.mac.Reset() // from now on this wipes it
	return d
}

// free wipes d and gives it back.
func (d *digest) free(to *sync.Pool) {
	d.mac.Reset()
	clear(d.octets[:])
	to.Put(d)
}
