package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/proxy"
)

// dialMax bounds a connection to this machine.
const dialMax = 3 * time.Second

// listener is one address of a listener in the settings.
type listener struct {
	proxy.Listener        // its kind
	setting        string // with the prefix
	addr           string
}

// String names the listener for a Finding.
func (l listener) String() string { return l.Name + " " + l.addr }

// listeners lists all addresses that clients connect to.
func (e *examination) listeners() (all []listener) {
	for _, kind := range proxy.ListenerKinds() {
		for _, addr := range e.config.Listeners.Of(kind.Name) {
			all = append(all, listener{kind, config.Prefix + config.ListenSetting(kind.Name), addr})
		}
	}
	return all
}

// target is where to connect to on this machine for an address to listen on.
func target(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	switch ip, err := netip.ParseAddr(host); {
	case host == "" || err == nil && ip.Is4() && ip.IsUnspecified():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// checkPorts checks that the running gateway accepts connections at every address, or
// that it could bind it.
func (e *examination) checkPorts(ctx context.Context) (found []Finding) {
	for _, l := range e.listeners() {
		_, port, _ := net.SplitHostPort(l.addr)
		switch {
		case port == "0":
			found = append(found, warning("port "+l.String(), "is another one after each start", "set a port in "+l.setting))
		case e.running != nil:
			found = append(found, checkAccepts(ctx, l))
		default:
			found = append(found, e.checkBindable(ctx, l))
		}
	}
	return found
}

// checkAccepts connects to an address of the running gateway.
func checkAccepts(ctx context.Context, l listener) Finding {
	check := "port " + l.String()
	c, err := dial(ctx, target(l.addr))
	if err != nil {
		return failure(check, "postern runs, and does not accept connections there: "+err.Error(),
			"see which addresses its log line with event=start has; a change of "+l.setting+" takes a restart; a local firewall may also be the cause")
	}
	c.Close()
	return ok(check, "accepts connections")
}

// dial connects to an address of this machine. The caller closes the connection.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	return c, eventlog.WithoutAddr(err)
}

// checkBindable binds an address while postern does not run, and releases it at once.
func (e *examination) checkBindable(ctx context.Context, l listener) Finding {
	check := "port " + l.String()
	ln, err := new(net.ListenConfig).Listen(ctx, config.Network(l.addr, e.config.Listeners.Addrs()), l.addr)
	_, port, _ := net.SplitHostPort(l.addr)
	unknown := e.config.Admin.Listen == "" // whether postern runs
	switch cause := eventlog.WithoutAddr(err); {
	case err == nil:
		ln.Close()
		return ok(check, "free; postern does not run")
	case errors.Is(err, syscall.EACCES):
		return failure(check, fmt.Sprintf("this user may not bind it: %v", cause),
			"ports below 1024 need CAP_NET_BIND_SERVICE: AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, which deploy/postern.service has, or run this command as root")
	case errors.Is(err, syscall.EADDRINUSE) && unknown:
		return warning(check, "in use, and whether by postern is not known", "set "+config.Prefix+"ADMIN_LISTEN, so that commands reach the running postern")
	case errors.Is(err, syscall.EADDRINUSE):
		return failure(check, "another program uses it, and postern does not run",
			"find it with `ss -ltnp sport = :"+port+"`: stop it (Dovecot: port = 0), or choose another address in "+l.setting+". If it is postern, "+config.Prefix+"ADMIN_LISTEN is another one there")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return failure(check, "this machine does not have the address", "correct "+l.setting+", or add the address to an interface")
	default:
		return failure(check, fmt.Sprintf("cannot be bound: %v", cause), "correct "+l.setting)
	}
}

// process is what the system says about the running gateway.
type process struct {
	pid     int    // 0 if there is none, or it is on another machine or in a container
	uid     int    // of its user
	fdLimit uint64 // how many file descriptors it may have; 0 if that cannot be read
}

// findProcess finds the process of a gateway by the ID that the gateway says it has. In a
// container it has another one here, so its name must be right.
func findProcess(pid int) (p process) {
	dir := "/proc/" + strconv.Itoa(pid)
	name, err := os.ReadFile(dir + "/comm")
	if err != nil || pid != os.Getpid() && !strings.HasPrefix(string(name), "postern") {
		return p
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return p
	}
	if fields := fieldsOf(string(status), "Uid:"); len(fields) > 1 {
		p.pid = pid
		p.uid, _ = strconv.Atoi(fields[1]) // the effective one
	}
	limits, err := os.ReadFile(dir + "/limits")
	if err != nil {
		return p
	}
	if fields := fieldsOf(string(limits), "Max open files"); len(fields) > 0 {
		p.fdLimit, _ = strconv.ParseUint(fields[0], 10, 64) // 0 for "unlimited"
	}
	return p
}

// fieldsOf returns what follows name in the line of text that begins with it.
func fieldsOf(text, name string) []string {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, name); found {
			return strings.Fields(rest)
		}
	}
	return nil
}

// fdsFew is a limit of file descriptors that an attack can use up.
const fdsFew = 8192

// checkDescriptors compares the limit of file descriptors with the number of connections.
func (e *examination) checkDescriptors(context.Context) []Finding {
	const check = "descriptors"
	limit, whose := e.process.fdLimit, "the running postern"
	if limit == 0 {
		limit, _ = config.FDLimit() // load has read it before
		whose = "this command (the service may have another limit)"
	}
	connections := uint64(e.config.Limits.MaxConnections)
	if e.running != nil {
		connections = uint64(max(e.running.MaxConnections, 0))
	}
	raise := "raise LimitNOFILE in the unit (`systemctl edit postern`; deploy/postern.service has 1048576) or `ulimit -n`, and restart postern"
	switch {
	case connections > limit:
		return []Finding{failure(check, fmt.Sprintf("%d for %s, fewer than the %d connections of %sMAX_CONNECTIONS", limit, whose, connections, config.Prefix), raise)}
	case limit < fdsFew:
		return []Finding{warning(check, fmt.Sprintf("%d for %s: an attack opens more connections than that", limit, whose), raise)}
	}
	return []Finding{ok(check, "%d for %s, at most %d connections", limit, whose, connections)}
}
