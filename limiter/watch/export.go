package watch

import "time"

// Export returns all that w knows.
func (w *Watch) Export(t time.Time) []byte { return w.Snapshot(t) }

// Import replaces all that w knows.
func (w *Watch) Import(t time.Time, data []byte) error { return w.Restore(t, data) }
