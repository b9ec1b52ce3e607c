// Package peer starts what is measured: postern, nginx, HAProxy and Dovecot's
// login proxy, each with a configuration for the same work, in front of the
// same mail server, with the same certificate.
//
//   - kind.go lists the kinds of target and says what is missing for one;
//     postern.go, nginx.go, haproxy.go and dovecot.go are one each.
//   - process.go runs a program in the foreground and ends it, by its process
//     id, with everything that descends from it.
//   - conf holds the configurations, as text templates.
//
// Nothing is installed and nothing outside of the folder of a target is
// written. Every limit is raised so that it does not bind; nobody logs logins
// unless all do.
package peer
