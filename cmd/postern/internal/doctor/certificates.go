package doctor

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"postern/cmd/postern/internal/config"
)

// A certificate that is not renewed this long before its end is a warning or a failure.
// Certificates of 90 days are usually renewed 30 days before their end.
const (
	expiresSoon = 21 * 24 * time.Hour
	expiresNow  = 7 * 24 * time.Hour
)

// rsaMin is the shortest RSA key that clients accept, in bits.
const rsaMin = 2048

// checkCertificates checks every pair of files in TLS_CERT and TLS_KEY.
func (e *examination) checkCertificates(context.Context) (found []Finding) {
	t := e.config.TLS
	for i := range min(len(t.Certs), len(t.Keys)) {
		found = append(found, e.checkCertificate(t.Certs[i], t.Keys[i])...)
	}
	if path := string(t.TicketKeys); path != "" {
		if _, err := os.ReadFile(path); err != nil {
			found = append(found, failure("session ticket keys", err.Error(), "let the user of postern read the file in "+config.Prefix+"TLS_TICKET_KEYS, or unset it"))
		}
	}
	return found
}

// checkCertificate checks one pair of files. Everything about one certificate that is not
// correct gets a line.
func (e *examination) checkCertificate(certFile, keyFile string) (found []Finding) {
	check := "certificate " + certFile
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return []Finding{failure(check, err.Error(), certificateRemedy(err, certFile, keyFile))}
	}
	leaf, now := pair.Leaf, time.Now()
	left := leaf.NotAfter.Sub(now)
	renew := "renew it, and see why that was not done automatically; postern reads the new file by itself (" + config.Prefix + "TLS_CERT)"
	switch end := leaf.NotAfter.UTC().Format("2006-01-02 15:04 MST"); {
	case left <= 0:
		found = append(found, failure(check, "expired on "+end, renew))
	case now.Before(leaf.NotBefore):
		found = append(found, failure(check, "is valid only from "+leaf.NotBefore.UTC().Format("2006-01-02 15:04 MST")+" on", "set the clock of this machine, or install the certificate that is valid now"))
	case left < expiresNow:
		found = append(found, failure(check, fmt.Sprintf("expires in %s, on %s", days(left), end), renew))
	case left < expiresSoon:
		found = append(found, warning(check, fmt.Sprintf("expires in %s, on %s", days(left), end), renew))
	}
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < rsaMin {
		found = append(found, failure(check, fmt.Sprintf("has an RSA key of %d bits, which clients refuse", key.N.BitLen()), "get a certificate with an ECDSA key, or an RSA key of at least 2048 bits"))
	}
	if len(leaf.DNSNames) == 0 {
		found = append(found, warning(check, "names no host, so clients that connect by name refuse it", "get a certificate with the names that clients connect to as subjectAltName"))
	}
	if info, err := os.Stat(keyFile); err == nil && info.Mode().Perm()&0o007 != 0 {
		found = append(found, warning("private key "+keyFile, fmt.Sprintf("has mode %04o: every user of this machine can read it", info.Mode().Perm()), "chmod o-rwx "+keyFile))
	}
	found = append(found, e.checkChain(check, pair)...)
	if len(found) == 0 {
		found = append(found, ok(check, "%s, for %s, chain complete, key matches, expires in %s", keyType(leaf), namesOf(leaf), days(left)))
	}
	return found
}

// certificateRemedy says what to do about a pair of files that cannot be loaded.
func certificateRemedy(err error, certFile, keyFile string) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "put the file there, or correct " + config.Prefix + "TLS_CERT and " + config.Prefix + "TLS_KEY"
	case errors.Is(err, os.ErrPermission):
		return "let the user of postern read the file, or run this command as root"
	case strings.Contains(err.Error(), "does not match"):
		return keyFile + " is the key of another certificate: list the keys in " + config.Prefix + "TLS_KEY in the order of " + config.Prefix + "TLS_CERT"
	}
	return certFile + " must have the certificate and then its chain, and " + keyFile + " the key without a passphrase, all in PEM format"
}

// checkChain verifies the chain as a client does that knows the root certificates of the
// system and nothing else. It says nothing about a certificate that is not valid now.
func (e *examination) checkChain(check string, pair tls.Certificate) []Finding {
	now := time.Now()
	if now.Before(pair.Leaf.NotBefore) || now.After(pair.Leaf.NotAfter) {
		return nil
	}
	leaf, err := verify(pair.Certificate, e.roots, "", now)
	switch {
	case err == nil:
		return nil
	case isSelfSigned(leaf):
		return []Finding{warning(check, "is self-signed: clients ask their users whether to trust it, or refuse it", "get a certificate of a CA that clients know, such as Let's Encrypt")}
	case len(pair.Certificate) == 1:
		return []Finding{failure(check, "the chain is not complete: "+err.Error(), "append the intermediate certificates of the CA to the file: with certbot, use fullchain.pem and not cert.pem")}
	}
	return []Finding{warning(check, "its chain does not lead to a CA that this system knows: "+err.Error(),
		"append all intermediate certificates of the CA to the file, or install ca-certificates; with a CA of your own, clients must know it")}
}

// verify verifies a chain for a host name as of a time and returns its first certificate. An
// empty name is not verified.
func verify(chain [][]byte, roots *x509.CertPool, name string, at time.Time) (leaf *x509.Certificate, err error) {
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), DNSName: name, CurrentTime: at}
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			leaf = c
		} else {
			o.Intermediates.AddCert(c)
		}
	}
	_, err = leaf.Verify(o)
	return leaf, err
}

// isSelfSigned reports whether c is its own issuer.
func isSelfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// keyType names the key of c.
func keyType(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return c.PublicKeyAlgorithm.String()
}

// namesShown is how many names of a certificate are listed.
const namesShown = 5

// namesOf lists the names that c is valid for.
func namesOf(c *x509.Certificate) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) > namesShown {
		return strings.Join(names[:namesShown], ", ") + fmt.Sprintf(" and %d more", len(names)-namesShown)
	}
	return strings.Join(names, ", ")
}

// days is d in days, or in hours if it is less than two days.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
