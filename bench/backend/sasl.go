package backend

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"
)

// The mechanisms beside PLAIN.
const (
	xoauth2 = "XOAUTH2"  // the token of an account is its Secret
	cramMD5 = "CRAM-MD5" // RFC 2195
)

// mechanisms is what the server offers, with prefix before each.
func mechanisms(prefix string) string {
	return prefix + sasl.Plain + " " + prefix + xoauth2 + " " + prefix + cramMD5
}

// The client's errors that authenticate returns; any other error is one of the
// connection.
var (
	errMechanism = errors.New("unknown mechanism")
	errResponse  = errors.New("invalid response")
)

// authenticate does SASL with the arguments of AUTHENTICATE or AUTH, which may
// contain an initial response. It returns what [authQueue.check] decides on.
func (c *conn) authenticate(args []byte) (account, secret string, err error) {
	mechanism, line, initial := bytes.Cut(args, []byte(" "))
	challenge, read := "", readPlain
	switch strings.ToUpper(string(mechanism)) {
	case sasl.Plain:
	case xoauth2:
		read = readToken
	case cramMD5:
		if initial {
			return "", "", errResponse
		}
		challenge = fmt.Sprintf("<%d@bench.example>", c.server.challenges.Add(1))
		read = func(response []byte) (account, secret string, err error) { return readDigest(challenge, response) }
	default:
		return "", "", errMechanism
	}
	if !initial {
		if err := c.writeLine("+ ", base64.StdEncoding.EncodeToString([]byte(challenge))); err != nil {
			return "", "", err
		}
		if line, err = c.readLine(); err != nil {
			return "", "", err
		}
	}
	response, err := base64.StdEncoding.DecodeString(string(line))
	if err != nil {
		return "", "", errResponse
	}
	return read(response)
}

// readPlain reads a response of PLAIN (RFC 4616) and ignores the authorization
// identity.
func readPlain(response []byte) (account, secret string, err error) {
	server := sasl.NewPlainServer(func(_, username, password string) error {
		account, secret = username, password
		return nil
	})
	if _, done, err := server.Next(response); err != nil || !done {
		return "", "", errResponse
	}
	return account, secret, nil
}

// readToken reads a response of XOAUTH2: user=NAME, auth=Bearer TOKEN and an
// empty part, each with a final ^A. Wrong tokens are denied without the
// challenge that explains why.
func readToken(response []byte) (account, token string, err error) {
	parts := strings.Split(string(response), "\x01")
	if len(parts) != 4 || parts[2] != "" || parts[3] != "" {
		return "", "", errResponse
	}
	account, isUser := strings.CutPrefix(parts[0], "user=")
	token, isBearer := strings.CutPrefix(parts[1], "auth=Bearer ")
	if !isUser || !isBearer {
		return "", "", errResponse
	}
	return account, token, nil
}

// readDigest reads a response of CRAM-MD5. The secret it returns is wrong if the
// digest is.
func readDigest(challenge string, response []byte) (account, secret string, err error) {
	space := bytes.LastIndexByte(response, ' ')
	if space < 0 {
		return "", "", errResponse
	}
	account = string(response[:space])
	mac := hmac.New(md5.New, []byte(Secret(account)))
	mac.Write([]byte(challenge))
	if hex.EncodeToString(mac.Sum(nil)) != string(response[space+1:]) {
		return account, "", nil
	}
	return account, Secret(account), nil
}
