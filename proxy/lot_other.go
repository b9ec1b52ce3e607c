//go:build !linux

package proxy

import "net"

// lot is empty where there is no epoll: each connection is waited for.
type lot struct{}

func (*lot) spot(net.Conn, sleeper) spot { return nil }
func (*lot) close()                      {}
