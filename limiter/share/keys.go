package share

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// Keys are the secrets of a site, all derived from its install key. They are safe for concurrent use.
type Keys struct {
	site     string      // 8 hexadecimal digits, which say nothing about the install key
	batches  [32]byte    // from which the keys of batches are derived
	snapshot cipher.AEAD // seals manifests and chunks
	nonces   [32]byte    // of snapshots
}

// NewKeys derives the keys from the install key, which all gateways of the site have.
func NewKeys(install [32]byte) *Keys {
	site := derive(install, []byte("site"))
	return &Keys{
		site:     hex.EncodeToString(site[:4]),
		batches:  derive(install, []byte("share batches")),
		snapshot: newAEAD(derive(install, []byte("share snapshots"))),
		nonces:   derive(install, []byte("share nonces of snapshots")),
	}
}

// Name returns the key in the engine of what the site calls name: a Stream, "lease", "epoch".
func (k *Keys) Name(name string) string { return "postern:{" + k.site + "}:" + name }

// ManifestName returns the key in the engine of the manifest of the newest snapshot of that kind.
func (k *Keys) ManifestName(kind SnapshotKind) string { return k.Name("snapshot:" + string(kind)) }

// ChunkName returns the key in the engine of chunk i of the snapshot m.
func (k *Keys) ChunkName(m *Manifest, i int) string {
	return k.ManifestName(m.Kind) + ":" + strconv.FormatUint(m.ID, 10) + ":" + strconv.Itoa(i)
}

// derive returns the HMAC-SHA-256 of message under key.
func derive(key [32]byte, message []byte) (derived [32]byte) {
	mac := hmac.New(sha256.New, key[:])
	mac.Write(message)
	mac.Sum(derived[:0])
	return derived
}

// newAEAD returns AES-256-GCM under key.
func newAEAD(key [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCM(block); err == nil {
			return aead
		}
	}
	panic(fmt.Sprintf("AES-256-GCM: %v", err)) // the lengths are constants
}
