// Package browser drives a headless Chromium for tests: it opens pages, acts as a user with
// mouse and keyboard, and collects what must not happen, such as errors on the console,
// violations of the Content-Security-Policy and requests to other origins.
//
// Nothing of it may be part of a program.
package browser

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"postern/cmd/postern/internal/testbed"
)

// program is the name of the browser, which is that of its Debian package.
const program = "chromium"

// patience bounds each wait for the browser. On a busy machine it takes long to start.
const patience = 2 * testbed.Patience

// Browser is one process.
type Browser struct{ ctx context.Context }

// Start starts a browser that ends with the test. Without one installed the test is skipped,
// or fails if CI=true.
func Start(t *testing.T) *Browser {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		testbed.Missing(t, program)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.DisableGPU, chromedp.Flag("disable-component-update", true),
		chromedp.NoSandbox) // it refuses to run as root otherwise
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return &Browser{ctx}
}

// Screen is how a tab shows pages.
type Screen struct {
	Width, Height int64
	Dark          bool // prefers-color-scheme
	Calm          bool // prefers-reduced-motion
}

// Tab is one page, with cookies and storage of its own.
type Tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string
	origins  map[string]bool // of requests
}

// Tab opens a tab that ends with the test.
func (b *Browser) Tab(t *testing.T, s Screen) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	tab := &Tab{t: t, ctx: ctx, origins: map[string]bool{}}
	if err := chromedp.Do(ctx); err != nil { // without a deadline, which would end the tab
		t.Fatalf("open a tab: %v", err)
	}
	if err := chromedp.Listen(ctx, tab.listen); err != nil {
		t.Fatalf("listen to a tab: %v", err)
	}
	run(tab, "collect what the tab reports", command(network.Enable, network.EnableParams{}))
	run(tab, "read the log", command(cdplog.Enable, cdp.Empty{}))
	run(tab, "count", command(performance.Enable, performance.EnableParams{TimeDomain: "threadTicks"}))
	tab.Show(s)
	return tab
}

// Show changes the screen.
func (tab *Tab) Show(s Screen) {
	tab.t.Helper()
	scheme, motion := "light", "no-preference"
	if s.Dark {
		scheme = "dark"
	}
	if s.Calm {
		motion = "reduce"
	}
	run(tab, "set the size", command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: s.Width, Height: s.Height, DeviceScaleFactor: 1, Mobile: s.Width < 600,
	}))
	run(tab, "set the scheme", command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion},
	}}))
}

// listen collects what the tab reports.
func (tab *Tab) listen(event any) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		tab.problems = append(tab.problems, "exception: "+e.ExceptionDetails.Text+" "+describe(e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			tab.problems = append(tab.problems, fmt.Sprintf("console: %s %s", e.Type, describe(e.Args...)))
		}
	case *cdplog.EventEntryAdded:
		// An answer that is not a success, or a server that has gone, is an error to the browser and not to a page.
		if e.Entry.Source != cdplog.EntrySourceNetwork && e.Entry.Level != cdplog.EntryLevelVerbose {
			tab.problems = append(tab.problems, fmt.Sprintf("log: %s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Scheme != "data" && u.Scheme != "about" {
			tab.origins[u.Scheme+"://"+u.Host] = true
		}
	}
}

// describe formats what was logged or thrown.
func describe(list ...*runtime.RemoteObject) (text string) {
	for _, o := range list {
		if o != nil {
			text += fmt.Sprintf(" %s%s", o.Value, o.Description)
		}
	}
	return text
}

// Problems returns the errors, warnings, exceptions and violations of policies so far.
// Requests that fail are not among them.
func (tab *Tab) Problems() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return append([]string(nil), tab.problems...)
}

// Origins returns the origins to which requests were sent so far.
func (tab *Tab) Origins() (list []string) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	for origin := range tab.origins {
		list = append(list, origin)
	}
	return list
}

// command is an action that sends a command of the protocol.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[R] {
	return func(ctx context.Context, target *chromedp.Target) (R, error) { return cdp.Call(ctx, target, c, params) }
}

// run runs an action, and ends the test if it fails.
func run[T any](tab *Tab, what string, action chromedp.Action[T]) T {
	tab.t.Helper()
	value, err := try(tab, action)
	if err != nil {
		tab.t.Fatalf("%s: %v", what, err)
	}
	return value
}

// try runs an action.
func try[T any](tab *Tab, action chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, action)
}

// Metrics returns what the browser counts for the tab, such as ScriptDuration and
// LayoutDuration, in seconds of CPU time.
func (tab *Tab) Metrics() map[string]float64 {
	tab.t.Helper()
	values := map[string]float64{}
	for _, m := range run(tab, "read metrics", command(performance.GetMetrics, cdp.Empty{})).Metrics {
		values[m.Name] = m.Value
	}
	return values
}

// Await waits until an expression is true in the page.
func (tab *Tab) Await(what, expression string) {
	tab.t.Helper()
	var last string
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(patience); ; {
		is, err := try(tab, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if err == nil && is {
			return
		}
		if err != nil {
			last = err.Error() // such as that of a page that is being loaded
		}
		select {
		case <-ticker.C:
		case <-deadline:
			tab.t.Fatalf("waited %v for %s: %s is false %s\n%s", patience, what, expression, last, tab.state())
		}
	}
}

// state describes the page for a message.
func (tab *Tab) state() string {
	text, err := try(tab, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}
