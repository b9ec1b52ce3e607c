package watch

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/dchest/siphash"
)

// A hasher makes the hashes of an installation. Their key is secret, so that attackers cannot choose accounts or addresses
// that count as one.
type hasher [2]uint64

func newHasher(key [16]byte) hasher {
	return hasher{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])}
}

// account returns the hash of a folded name.
func (h hasher) account(name string) uint64 { return siphash.Hash(h[0], h[1], []byte(name)) }

// block returns the hash of an address block.
func (h hasher) block(p netip.Prefix) uint64 {
	var data [17]byte
	addr := p.Addr().As16()
	copy(data[:], addr[:])
	data[16] = byte(p.Bits())
	return siphash.Hash(h[0], h[1], data[:])
}

// A hashedAttempt is an attempt with what its account and its network are found by.
type hashedAttempt struct {
	*Attempt
	name        string // the account, folded
	accountHash uint64
	networkHash uint64
}

// attempt returns a with its hashes.
func (h hasher) attempt(a *Attempt) hashedAttempt {
	name := folded(a.Account)
	return hashedAttempt{Attempt: a, name: name, accountHash: h.account(name), networkHash: h.block(a.Network)}
}

// accountMost is how many octets of an account name are kept.
const accountMost = 64

// folded returns the name in lower case, cut to accountMost octets and made valid UTF-8.
func folded(account string) string {
	if len(account) > accountMost {
		account = account[:accountMost]
		for !utf8.ValidString(account) && len(account) > accountMost-utf8.UTFMax {
			account = account[:len(account)-1]
		}
	}
	return strings.ToLower(strings.ToValidUTF8(account, "\uFFFD"))
}

// A networkSet is a set of networks, one bit for each hash: enough to tell few from many. It counts up to about 1,500.
type networkSet [4]uint64

// add adds a network with this hash.
func (s *networkSet) add(hash uint64) { setBit(s[:], hash) }

// count returns the estimated number of networks.
func (s *networkSet) count() float64 { return bitCount(s[:]) }

// An accountSet is a set of accounts, one bit for each hash, in 4 KB. It counts up to some 150,000, to within a few per cent.
type accountSet [1 << 9]uint64

// add adds an account with this hash.
func (s *accountSet) add(hash uint64) { setBit(s[:], hash) }

// has reports whether an account with this hash was added.
func (s *accountSet) has(hash uint64) bool { return s[hash>>6%uint64(len(s))]>>(hash&63)&1 == 1 }

// count returns the estimated number of accounts.
func (s *accountSet) count() float64 { return bitCount(s[:]) }

// setBit sets the bit that a hash selects.
func setBit(set []uint64, hash uint64) { set[hash>>6%uint64(len(set))] |= 1 << (hash & 63) }

// bitCount returns the estimated number of hashes that have set bits, by linear counting (Whang et al. 1990).
func bitCount(set []uint64) float64 {
	empty := 0
	for _, word := range set {
		empty += bits.OnesCount64(^word)
	}
	all := float64(64 * len(set))
	return all * math.Log(all/max(float64(empty), 0.5))
}
