package limiter

import "time"

// A mark stands for one credential, source or network by a part of its digest. Zero is none.
//
// A credential's has 16 bits: whoever lacks the password has one chance in 65,536 with each guess to be taken for
// known, and what he wins is a faster denial by the backend. To somebody who steals the table, 16 bits say no more of
// a good password than that it is among the 65,536th part of all others.
type mark interface{ ~uint16 | ~uint32 }

// credentialMark returns the mark of c, or zero if none was shown.
func credentialMark(c Credential) uint16 {
	if !c.shown() {
		return 0
	}
	return max(uint16(c[0])<<8|uint16(c[1]), 1)
}

// blockMark returns the mark of the source or network that k stands for.
func blockMark(k key) uint32 {
	return max(uint32(k.hi>>32), 1)
}

// kept says what still counts: what was accepted less than ttl hours before now.
type kept struct {
	now hour
	ttl int
}

// keptFor returns what still counts at t. A ttl is rounded up to a whole hour, for marks tell no finer time.
func keptFor(t time.Time, ttl time.Duration) kept {
	return kept{hourOf(t), int((ttl + time.Hour - 1) / time.Hour)}
}

// fresh reports whether what was accepted at h still counts.
func (k kept) fresh(h hour) bool {
	return h.since(k.now) < k.ttl
}

// has reports whether m is in list and fresh.
func has[M mark](list []M, at []hour, m M, k kept) bool {
	for i := range list {
		if list[i] == m {
			return m != 0 && k.fresh(at[i])
		}
	}
	return false
}

// renew puts m first, in its own place, a free one or the last. It reports whether m is new, and which mark left.
func renew[M mark](list []M, at []hour, m M, now hour) (left M, isNew bool) {
	i := 0
	for i < len(list)-1 && list[i] != m && list[i] != 0 {
		i++
	}
	if isNew = list[i] != m; isNew {
		left = list[i]
	}
	copy(list[1:i+1], list[:i])
	copy(at[1:i+1], at[:i])
	list[0], at[0] = m, now
	return left, isNew
}

// remove takes m out, and closes the gap.
func remove[M mark](list []M, at []hour, m M) {
	for i := range list {
		if list[i] == m {
			copy(list[i:], list[i+1:])
			copy(at[i:], at[i+1:])
			list[len(list)-1] = 0
			return
		}
	}
}
