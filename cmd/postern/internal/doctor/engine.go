package doctor

import (
	"context"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/engine"
)

// checkKeyFile checks the key that all gateways of the site have.
func (e *examination) checkKeyFile(context.Context) []Finding {
	path := string(e.config.Share.KeyFile)
	if path == "" {
		return nil
	}
	check := "key file " + path
	if _, err := config.ReadKeyFile(path); err != nil {
		return []Finding{failure(check, err.Error(), "make it on one gateway with `postern key`, or copy it from a gateway that has the right one; run this command as root")}
	}
	return []Finding{ok(check, "only its owner and group can read it")}
}

// engineTries is how often the engine is asked before it counts as out of reach. Each try has a short deadline.
const engineTries = 3

// checkEngine checks whether the engine can be used from here, and compares the clock with its.
func (e *examination) checkEngine(ctx context.Context) []Finding {
	if e.config.Share.URL == "" {
		return nil
	}
	c := e.config.Share.Engine()
	c.Name = "postern-doctor"
	client, err := engine.Open(c)
	if err != nil {
		return []Finding{failure("engine", err.Error(), "correct the files in the "+config.Prefix+"SHARE settings; run this command as root")}
	}
	defer client.Close()
	check := "engine " + client.Address()
	var at, asked, answered time.Time
	for range engineTries {
		asked = time.Now()
		at, err = client.Time(ctx)
		answered = time.Now()
		if err == nil || engine.ReasonOf(err) == engine.Denied {
			break
		}
	}
	if err != nil {
		return []Finding{failure(check, err.Error(), engineRemedy(engine.ReasonOf(err)))}
	}
	took := answered.Sub(asked)
	middle := asked.Add(took / 2)
	return append([]Finding{ok(check, "answers in %v", took.Round(10*time.Microsecond))}, compareClock("the engine", answer{date: at, got: middle})...)
}

// engineRemedy says what to do if the engine cannot be used.
func engineRemedy(reason engine.Reason) string {
	switch reason {
	case engine.Down:
		return "see that Valkey or Redis runs there, that it listens on this address, and that the firewall lets this gateway connect"
	case engine.Timeout:
		return "see that the engine is not overloaded, and that it is within some milliseconds of this gateway"
	case engine.Denied:
		return "see the user in " + config.Prefix + "SHARE_URL, the file in " + config.Prefix + "SHARE_PASSWORD_FILE, the certificates, and the ACL in deploy/valkey"
	}
	return "see the log of the engine"
}
