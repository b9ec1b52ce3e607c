//go:build unix

package proxy

import (
	"syscall"
	"testing"
)

// affordable returns n, or as many pairs of descriptors as the process may have.
func affordable(t *testing.T, n int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	most := int(limit.Cur)/2 - 100
	if most < n {
		t.Logf("only %d connections, for want of descriptors", most)
	}
	return min(n, most)
}
