package tlsconf

import (
	"context"
	"time"
)

// Watch calls Reload once per interval, which must be positive, until ctx is done. It
// blocks, and calls report from the same goroutine: with (true, nil) after a change
// and with (false, err) after a failure. It does not report an error again while the
// error remains the same, so a failed renewal is one event however long it lasts.
//
// Watch polls because file notifications miss common setups: symbolic links of which
// a parent directory is replaced (certbot, Kubernetes secrets), bind-mounted files and
// NFS. A poll reads a few small files and compares contents, which are reliable where
// modification times are not.
func (s *Source) Watch(ctx context.Context, interval time.Duration, report func(changed bool, err error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		changed, err := s.Reload()
		switch {
		case err == nil:
			last = ""
		case err.Error() == last:
			continue
		default:
			last = err.Error()
		}
		if changed || err != nil {
			report(changed, err)
		}
	}
}
