package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar shows on a terminal how far a run has come. Elsewhere it is nothing.
type bar struct {
	w io.Writer // nil if nobody looks
	*progressbar.ProgressBar
}

// newBar draws on w if that is a terminal.
func newBar(w io.Writer) *bar {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return &bar{}
	}
	return &bar{w: w}
}

// progress is called before every step.
func (b *bar) progress(done, total int, what string) {
	if b.w == nil {
		return
	}
	if b.ProgressBar == nil {
		b.ProgressBar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(b.w), progressbar.OptionSetWidth(24), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(50*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	b.Describe(what)
	_ = b.Set(done)
}

// clear takes the bar away.
func (b *bar) clear() {
	if b.ProgressBar != nil {
		_ = b.Clear()
	}
}
