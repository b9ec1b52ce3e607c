package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/monitor"
)

// checkSharing checks whether the running gateway counts together with the others of the site.
func (e *examination) checkSharing(context.Context) []Finding {
	if e.running == nil || e.running.Sharing == nil {
		return nil
	}
	s := e.running.Sharing
	found := []Finding{sharingMode(s)}
	if s.Warning != "" {
		found = append(found, warning("sharing", s.Warning, "give each gateway a name of its own ("+config.Prefix+"GATEWAY), and see `postern status` on each"))
	}
	if s.Rejected.Batches > 0 {
		found = append(found, warning("sharing", fmt.Sprintf("%d batches, records or snapshots in the engine could not be used; the last error is: %s", s.Rejected.Batches, s.LastError),
			"see that all gateways have the same version, and that only they can write to the engine (ACL in deploy/valkey); the log says more"))
	}
	if f := memberVersions(s.Members); f != nil {
		found = append(found, *f)
	}
	return found
}

// sharingMode checks how the gateway counts.
func sharingMode(s *monitor.Sharing) Finding {
	const check = "sharing"
	switch s.Mode {
	case monitor.Alone:
		return failure(check, fmt.Sprintf("the gateway counts alone, because it cannot use the engine at %s: %s", s.Engine, cmp.Or(s.LastError, "no error is known")),
			"see that Valkey or Redis runs there, that the firewall lets this gateway connect, and that the user of "+config.Prefix+"SHARE_URL has the permissions in deploy/valkey")
	case monitor.Joining:
		return warning(check, "the gateway does not yet know what the others know", "wait some seconds; if it remains so, see its log, and `postern status` on the other gateways")
	}
	return ok(check, "as %s, together with %s, through %s", s.Gateway, eventlog.Count(max(len(s.Members)-1, 0), "other gateway"), s.Engine)
}

// memberVersions checks whether all gateways have the same version; nil if they have.
func memberVersions(members []monitor.Member) *Finding {
	var versions, texts []string
	for _, m := range members {
		if !slices.Contains(versions, m.Version) {
			versions = append(versions, m.Version)
		}
		texts = append(texts, m.Name+" "+m.Version)
	}
	if len(versions) < 2 {
		return nil
	}
	f := warning("sharing", "the gateways have different versions: "+strings.Join(texts, ", "), "upgrade the others, one after the other")
	return &f
}
