package tlsconf

import (
	"context"
	"time"
)

// Watch reloads the files whenever their contents differ from those in use,
// looking once per interval, which must be positive, until ctx ends. It
// blocks; report is called from the same goroutine, with (true, nil) after a
// change and (false, err) after a failure. Nothing is said about a look that
// found no change or the same error as before: a renewal that went wrong is
// one event, however long it lasts. Every look tries anew.
//
// It polls because notifications miss what matters here: certificates are
// often symbolic links of which a directory above is swapped (certbot,
// Kubernetes secrets), bind-mounted single files, or on NFS. A look costs the
// reading of a few small files, and the contents, unlike modification times,
// cannot mislead.
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
