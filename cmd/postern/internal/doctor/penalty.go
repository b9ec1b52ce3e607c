package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/proxy"
)

// penaltyMax bounds one login that fails: Dovecot delays the answer by auth_failure_delay,
// 2 s by default, and after a failure from the same address by 2 s more.
const penaltyMax = 10 * time.Second

// penaltyMin is how much later than the first the second answer is that shows a penalty. It
// is below the shortest penalty, 2 s, by the half second with which Dovecot sends refusals.
const penaltyMin = 1500 * time.Millisecond

// documentation is the network that the made-up client has its address from (RFC 5737).
var documentation = netip.MustParseAddr("198.51.100.0").As4()

// checkPenalty logs in twice with an account that does not exist, from an address that no
// client has, and compares how long the answers take. A penalty of Dovecot delays the next
// login from an address, also that of a known user, before the password is checked.
func (b *backend) checkPenalty(ctx context.Context) Finding {
	check := b.String()
	if b.config.Proxy == proxy.ProxyOff {
		return ok(check, "auth penalty not measured: without a PROXY header, failed logins would count against this gateway")
	}
	host := documentation
	host[3] = byte(1 + random(254))
	client := netip.AddrPortFrom(netip.AddrFrom4(host), uint16(10000+random(50000)))
	var took [2]time.Duration
	for i := range took {
		started := time.Now()
		err := b.failLogin(ctx, client)
		if err != nil {
			return warning(check, "auth penalty not measured: "+err.Error(), "see the log of the backend for logins from "+client.Addr().String())
		}
		took[i] = time.Since(started).Round(10 * time.Millisecond)
	}
	if took[1]-took[0] >= penaltyMin {
		return warning(check, fmt.Sprintf("delays logins after a failed one from the same address: two failed ones were answered after %v and %v", took[0], took[1]),
			"set `service anvil { unix_listener anvil-auth-penalty { mode = 0 } }` in Dovecot, as in deploy/dovecot/postern.conf: postern delays attackers itself, and both delays together exceed the timeouts of mail programs")
	}
	return ok(check, "no auth penalty: two failed logins were answered after %v and %v", took[0], took[1])
}

// failLogin makes a login from client that must fail, each time with another name and
// password: Dovecot does not count the same ones twice. An answer that is not a refusal is an error.
func (b *backend) failLogin(ctx context.Context, client netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, penaltyMax)
	defer cancel()
	raw, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	c, err := b.open(ctx, raw, b.configured(), client)
	if err != nil {
		return errors.New(describe(err))
	}
	err = c.login("postern-doctor-"+rand.Text(), rand.Text())
	var refusal *replyError
	switch {
	case err == nil:
		return errors.New("it accepts an account that does not exist; see passdb of Dovecot, and whether " + config.Prefix + "BACKEND_* names a mail server")
	case errors.As(err, &refusal):
		return nil
	}
	return errors.New(describe(err))
}

// random is a number below n.
func random(n int64) int64 {
	i, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		panic(err) // the random numbers of the system do not fail
	}
	return i.Int64()
}
