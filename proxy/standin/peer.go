package standin

import (
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// Peer is who a backend is told it talks to: the content of the PROXY header,
// or of the socket when none was expected.
type Peer struct {
	Version int  // of the PROXY header: 1 or 2; 0 when none was expected
	Local   bool // a LOCAL (v2) or UNKNOWN (v1) header: no client behind it

	// Client is the announced address of the mail client. Without an
	// announcement it is the remote end of the socket. An IPv4-mapped IPv6
	// address stays as it was announced.
	Client netip.AddrPort
	// Server is the announced address the client connected to, or the local
	// end of the socket.
	Server netip.AddrPort

	TLS        bool   // the SSL TLV says the client is in TLS
	TLSVersion string // from the SSL TLV, such as "TLSv1.3"
	Cipher     string // from the SSL TLV, such as "TLS_AES_128_GCM_SHA256"
	TLSVerify  uint32 // from the SSL TLV; 0 claims a verified client certificate
	Authority  string // the AUTHORITY TLV, the host name the client asked for
	ALPN       string // the ALPN TLV

	TLVs []proxyproto.PP2Type // the type of every TLV, in the order sent
}

// socketPeer is the Peer of a connection without a PROXY header.
func socketPeer(c net.Conn) Peer {
	return Peer{Client: addrPort(c.RemoteAddr()), Server: addrPort(c.LocalAddr())}
}

// headerPeer is the Peer a header on connection c announces. It fails when the
// TLVs are not well formed.
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

// add takes note of one TLV.
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

// addrPort is the address and port of a, the zero value when it has none
// (a pipe, for example).
func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
