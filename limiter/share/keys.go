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
	site     string
	batch    [32]byte
	manifest [32]byte
	nonce    [32]byte
	chunk    [32]byte
}

// NewKeys derives the keys from the install key, which all gateways of the site have.
func NewKeys(install [32]byte) *Keys {
	site := derive(install, "site")
	return &Keys{
		site:     hex.EncodeToString(site[:4]),
		batch:    derive(install, "share batch"),
		manifest: derive(install, "share manifest"),
		nonce:    derive(install, "share manifest nonce"),
		chunk:    derive(install, "share chunk"),
	}
}

// Site returns the 8 hexadecimal digits that name the site in the engine. They say nothing about the key.
func (k *Keys) Site() string { return k.site }

// Name returns the key in the engine of what the site calls name: a Stream, "lease", "epoch".
func (k *Keys) Name(name string) string { return "postern:{" + k.site + "}:" + name }

// ManifestName returns the key in the engine of the manifest of the newest snapshot of that sort.
func (k *Keys) ManifestName(sort Sort) string { return k.Name("snapshot:" + string(sort)) }

// ChunkName returns the key in the engine of chunk i of the snapshot m.
func (k *Keys) ChunkName(m *Manifest, i int) string {
	return k.ManifestName(m.Sort) + ":" + strconv.FormatUint(m.Generation, 10) + ":" + strconv.Itoa(i)
}

// derive returns the HMAC-SHA-256 of the parts under key. Each part but the last must be of a fixed length or say its
// length.
func derive[T string | []byte](key [32]byte, parts ...T) (derived [32]byte) {
	mac := hmac.New(sha256.New, key[:])
	for _, part := range parts {
		mac.Write([]byte(part))
	}
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
