package socket

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sockaddr is the address as the kernel takes it. Each call wants its own: bind and connect write into it.
func Sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}
