package config

import (
	"strings"

	"postern/proxy"
	"postern/proxy/dialogue"
)

// This file has what the settings say about each protocol and each kind of listener, for
// code that treats all of them in the same way.

// sieveListen is SIEVE_LISTEN if there are SIEVE_BACKENDS and it is not set.
const sieveListen = ":4190"

// ListenSetting is the setting, without the prefix, with the addresses of a kind of
// listener.
func ListenSetting(kind string) string { return strings.ToUpper(kind) + "_LISTEN" }

// BackendsSetting is the setting, without the prefix, with the backends of a protocol.
func BackendsSetting(protocol string) string { return strings.ToUpper(protocol) + "_BACKENDS" }

// Of are the addresses of a kind of listener, none if it is off.
func (l Listeners) Of(kind string) []string {
	return map[string]listenAddrs{"imap": l.IMAP, "imaps": l.IMAPS, "pop3": l.POP3, "pop3s": l.POP3S, "sieve": l.Sieve}[kind]
}

// Addrs are the addresses of all listeners.
func (l Listeners) Addrs() (all []string) {
	for _, kind := range proxy.ListenerKinds() {
		all = append(all, l.Of(kind.Name)...)
	}
	return all
}

// Protocols are the protocols that have a listener.
func (l Listeners) Protocols() (all []dialogue.Protocol) {
	for _, p := range dialogue.Protocols() {
		if len(l.settings(p, true)) > 0 {
			all = append(all, p)
		}
	}
	return all
}

// settings names the settings of the listeners of a protocol: of those that are on, or of
// all.
func (l Listeners) settings(p dialogue.Protocol, on bool) (names []string) {
	for _, kind := range proxy.ListenerKinds() {
		if kind.Protocol == p && (!on || len(l.Of(kind.Name)) > 0) {
			names = append(names, ListenSetting(kind.Name))
		}
	}
	return names
}

// Of are the backends of a protocol.
func (b Backend) Of(protocol string) []string {
	return map[string]hostPorts{"imap": b.IMAP, "pop3": b.POP3, "sieve": b.Sieve}[protocol]
}

// Addrs are the backends of all protocols.
func (b Backend) Addrs() (all []string) {
	for _, p := range dialogue.Protocols() {
		all = append(all, b.Of(p.Name())...)
	}
	return all
}
