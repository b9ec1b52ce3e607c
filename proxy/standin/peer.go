package standin

import (
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// Peer is what a server knows about its client: from the PROXY header, or from the
// socket when none is expected.
type Peer struct {
	Version int  // of the PROXY header, 1 or 2; 0 when none is expected
	Local   bool // the header is LOCAL (v2) or UNKNOWN (v1), such as of a health check

	// Client is the address of the mail client according to the header, or the
	// remote address of the socket. In an IPv6 header, an IPv4-mapped address is
	// not unmapped.
	Client netip.AddrPort
	// Server is the address the client connected to according to the header, or
	// the local address of the socket.
	Server netip.AddrPort

	TLS        bool   // the SSL TLV says that the client uses TLS
	TLSVersion string // from the SSL TLV, such as "TLSv1.3"
	Cipher     string // from the SSL TLV, such as "TLS_AES_128_GCM_SHA256"
	TLSVerify  uint32 // from the SSL TLV; 0 means a verified client certificate
	Authority  string // the AUTHORITY TLV, the host name the client asked for
	ALPN       string // the ALPN TLV

	TLVs []proxyproto.PP2Type // the type of every TLV, in the order sent
}

// socketPeer is the Peer of a connection without a PROXY header.
func socketPeer(c net.Conn) Peer {
	return Peer{Client: addrPort(c.RemoteAddr()), Server: addrPort(c.LocalAddr())}
}

// headerPeer is the Peer of connection c with header h. It returns an error for
// malformed TLVs.
func headerPeer(h *proxyproto.Header, c net.Conn) (Peer, error) {
	p := socketPeer(c)
	p.Version = int(h.Version)
	p.Local = h.Command.IsLocal() || h.TransportProtocol.IsUnspec()
	if !p.Local {
		p.Client, p.Server = addrPort(h.SourceAddr), addrPort(h.DestinationAddr)
	}
	if h.TransportProtocol.IsIPv4() {
		p.Client, p.Server = unmap(p.Client), unmap(p.Server)
	}
	tlvs, err := h.TLVs()
	if err != nil {
		return Peer{}, err
	}
	for _, tlv := range tlvs {
		if err := p.add(tlv); err != nil {
			return Peer{}, err
		}
	}
	return p, nil
}

// add applies one TLV.
func (p *Peer) add(tlv proxyproto.TLV) error {
	p.TLVs = append(p.TLVs, tlv.Type)
	switch tlv.Type {
	case proxyproto.PP2_TYPE_AUTHORITY:
		p.Authority = string(tlv.Value)
	case proxyproto.PP2_TYPE_ALPN:
		p.ALPN = string(tlv.Value)
	case proxyproto.PP2_TYPE_SSL:
		ssl, err := tlvparse.SSL(tlv)
		if err != nil {
			return err
		}
		p.TLS, p.TLSVerify = ssl.ClientSSL(), ssl.Verify
		p.TLSVersion, _ = ssl.SSLVersion()
		p.Cipher, _ = ssl.SSLCipher()
	}
	return nil
}

// addrPort is the address and port of a, the zero value if it is not a TCP address.
func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
