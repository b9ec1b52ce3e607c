package packaging

// description is the text of postern(8) that is not in the help.
const description = `postern runs in front of Dovecot, ends TLS, decides which login attempts may reach a backend and when, and then relays the session.
Without a command it is the proxy itself. The other commands ask or change the running one through its admin API, or work alone.

Settings are environment variables, or lines of the file that POSTERN_ENV_FILE names. With the Debian package that is /etc/postern/postern.env:

  POSTERN_ENV_FILE=/etc/postern/postern.env postern doctor

If POSTERN_ENV_FILE is not set, commands use the environment alone.`

// signals are what postern serve reacts to.
var signals = [][2]string{
	{"SIGHUP", "reads the settings and certificates again. A file with an error changes nothing."},
	{"SIGUSR2", "starts the program that is installed now, which takes over without a client noticing."},
	{"SIGTERM", "closes connections that have not logged in, and waits up to POSTERN_DRAIN for the others. A second one ends postern at once."},
}

// files are those of the Debian package.
var files = [][2]string{
	{"/etc/postern/postern.env", "the settings: postern.env(5)."},
	{"/var/lib/postern", "what postern remembers over a restart: known users as keyed digests, keys, incidents and decisions."},
	{"/usr/share/doc/postern", "REFERENCE.md with rules, metrics and log fields, OPERATORS.md with what to do when there is an alert, and examples for Dovecot, Prometheus, Alertmanager, Grafana, Nagios, Munin and fail2ban."},
}

// settingsFile is the text of postern.env(5) that is not in the table of settings.
const settingsFile = `The file that POSTERN_ENV_FILE names has one POSTERN_NAME=value per line. Lines that begin with # are comments. Values may be in quotes.
postern reads it at start and again at a reload (systemctl reload postern, or postern reload). Settings below that take effect at a reload then
change without closing a connection; the others need an upgrade (postern upgrade). A file with an error changes nothing.
A variable in the real environment takes precedence over the file.

Three kinds of settings have no default: the backends, the certificate with its key, and the networks that are exempt from limits per source.
A small configuration:

  POSTERN_IMAP_BACKENDS=backend.example:10143
  POSTERN_POP3_BACKENDS=backend.example:10110
  POSTERN_TLS_CERT=/etc/postern/fullchain.pem
  POSTERN_TLS_KEY=/etc/postern/privkey.pem
  POSTERN_EXEMPT=192.0.2.80/32

postern config prints all settings with their values, and postern doctor checks them and all that postern needs.`
