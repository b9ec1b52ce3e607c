package limiter

import (
	"math/bits"
	"sync"
	"time"
)

// A sprayTable finds passwords that strangers try at many accounts. It has a fixed number of cells; each follows one
// password, by the digest of the password alone, and estimates at how many accounts it was denied. A password that is
// denied again and again keeps its cell against those that are tried once.
type sprayTable struct {
	mu    sync.Mutex
	cells []sprayCell // nil before the first denial
}

type sprayCell struct {
	accounts uint64 // a bitmap: the bit of each account, by its key
	until    ticks  // the cell is free from then on
	password uint32
	weight   uint8 // how many denials of other passwords it takes to lose the cell
}

const (
	sprayCells = 1 << 14
	sprayTime  = time.Hour // since the password was last tried

	sprayWeightMax = 254

	// sprayBits is how many bits are set by a sprayed password: those of about twenty accounts.
	sprayBits = 17
)

// noAccountBit is the number of bits for accounts, and stands for none of them.
const noAccountBit = 64

// accountBit returns the bit of the account of s.
func (s *subject) accountBit() uint8 {
	return uint8(s.keys[kindAccount].lo % noAccountBit)
}

// apply does what a sibling has done: it has recorded that password was denied at the account with the given bit, or if
// that is noAccountBit, that a sprayed password was tried.
func (t *sprayTable) apply(now ticks, password uint32, bit uint8) {
	if bit == noAccountBit {
		t.isSprayed(now, password)
		return
	}
	t.denied(now, password, bit)
}

// isSprayed is that of the spray table, and publishes that the password was tried.
func (l *Limiter) isSprayed(now ticks, password uint32) bool {
	if !l.sprays.isSprayed(now, password) {
		return false
	}
	if l.wants(opSprayed) {
		l.publish(&event{op: opSprayed, password: password, bit: noAccountBit})
	}
	return true
}

// denied records that password was denied at the account with the given bit.
func (t *sprayTable) denied(now ticks, password uint32, bit uint8) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cell(password)
	switch {
	case c.password == password && c.until > now:
		c.weight = min(c.weight+1, sprayWeightMax)
	case c.weight > 0 && c.until > now:
		c.weight--
		return
	default:
		*c = sprayCell{password: password, weight: 1}
	}
	c.accounts |= 1 << bit
	c.until = max(c.until, now.add(sprayTime))
}

// cell returns the cell of password. t must be locked.
func (t *sprayTable) cell(password uint32) *sprayCell {
	if t.cells == nil {
		t.cells = make([]sprayCell, sprayCells)
	}
	return &t.cells[password%sprayCells]
}

// isSprayed reports whether a password with that digest was denied for many accounts, and was last tried within
// sprayTime. Asking counts as trying it.
func (t *sprayTable) isSprayed(now ticks, password uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cells == nil {
		return false
	}
	c := &t.cells[password%sprayCells]
	if c.password != password || !c.isSprayed(now) {
		return false
	}
	c.until = max(c.until, now.add(sprayTime))
	return true
}

func (c *sprayCell) isSprayed(now ticks) bool {
	return c.until > now && bits.OnesCount64(c.accounts) >= sprayBits
}
