package limiter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
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
