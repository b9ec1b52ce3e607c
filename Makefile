# Everything a developer does with postern. CI runs the same targets (.ci/run).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The one tool that is not in Debian is built from the Go module proxy, which
# takes a minute the first time, and pinned here rather than in go.mod, where
# it would bring two hundred modules along.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

FUZZTIME ?= 10s

# What make bench does. On a quiet machine its figures can be trusted.
BENCH := -target postern,nginx,haproxy,dovecot,direct -duration 1200ms -settle 2s -peace 5s -siege 10s -limit 20m \
	-readme bench/README.md -json bench-report.json -html bench-report.html login idle relay attack tarpit overload capacity

# Debian keeps daemons out of a user's path.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

# What the tests talk to: the server behind the gate, the clients before it and
# the gates beside it.
PEERS := dovecot nginx haproxy mbsync fetchmail getmail neomutt offlineimap curl openssl python3 prometheus-alertmanager

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## build the static binary ./postern
	CGO_ENABLED=0 go build -buildvcs=auto -trimpath -ldflags='-s -w' -o postern ./cmd/postern

.PHONY: test
test: ## run all tests with the race detector; install what they need if possible
	@.ci/install $(PEERS)
	go test -race -count=1 ./... # never from the cache, which knows nothing of other programs

.PHONY: cover
cover: ## check that limiter, what is below it and proxy/dialogue are covered above 90 %
	@.ci/cover 90 ./limiter ./limiter/watch ./limiter/watch/incident ./limiter/watch/report ./proxy/dialogue

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## measure postern beside its peers for fifteen minutes, into bench/README.md
	@.ci/install dovecot nginx haproxy
	go run ./cmd/postern-bench $(BENCH)

.PHONY: lint
lint: ## check Go code, shell scripts and the files in deploy
	@.ci/install shellcheck systemd-analyze fail2ban-regex dovecot promtool amtool
	go run $(GOLANGCI) run
	@if [[ $${CI:-} = true ]] || command -v shellcheck >/dev/null; then shellcheck .ci/*; fi
	.ci/deploy
