# Targets for development. CI runs the same ones (.ci/run).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# golangci-lint is not in Debian. `go run` builds it, which takes a minute the first
# time. Its version is pinned here and not in go.mod, to which it would add two
# hundred modules.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

FUZZTIME ?= 10s

# Arguments of the load tool for make bench. Run it on an idle machine.
BENCH := -target postern,nginx,haproxy,dovecot,direct -duration 1200ms -settle 2s -baseline 5s -attack 10s -limit 25m \
	-readme bench/README.md -json bench-report.json -html bench-report.html login idle relay attack tarpit overload capacity informed

# On Debian, daemons are not in the PATH of ordinary users.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

# Programs that the tests use: mail servers, mail clients, other proxies,
# Alertmanager, fail2ban, systemd, a browser, network namespaces, firewalls, Debian's tools
# for packages and images, shells, and what gateways share over. Tests use valkey-server beside
# redis-server if it is there; Debian 12 has it in backports.
PEERS := dovecot nginx haproxy mbsync fetchmail getmail neomutt offlineimap curl openssl python3 tstclnt prometheus-alertmanager fail2ban-regex systemctl chromium \
	redis-server valkey-server ip sieve-connect postfix nft crowdsec-firewall-bouncer dh lintian groff fish zsh buildah

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## build the static binary ./postern
	CGO_ENABLED=0 go build -buildvcs=auto -trimpath -ldflags='-s -w' -o postern ./cmd/postern

.PHONY: deb
deb: ## build Debian packages for amd64 and arm64 in ./dist
	@.ci/install dh
	.ci/package dist amd64 arm64

.PHONY: debian
debian: ## test the package in a minimal Debian instead of a copy of this machine
	@.ci/install dh mmdebstrap
	@root=$$(mktemp -d) && trap 'rm -rf "$$root"' EXIT && \
	mmdebstrap --quiet --mode=root --variant=minbase --include=ca-certificates,systemd-standalone-sysusers bookworm "$$root" && \
	go test -count=1 -v ./cmd/postern/internal/packaging -run 'TestPackage/installation' -args -root "$$root"

.PHONY: release
release: ## build packages, static binaries, a list of components (SBOM) and checksums in ./dist
	@.ci/install dh
	.ci/release dist

# Long simulations are single-threaded arithmetic: the race detector finds
# nothing in them and takes ten times as long. They are in files with
# //go:build !race, their names begin with TestSimulation, and test runs them
# once, without the race detector, beside the others (.ci/test).
SIMULATIONS := ./limiter/... ./cmd/postern/internal/daemon ./cmd/postern/internal/learn

.PHONY: test
test: ## run all tests, with the race detector where it helps; install the programs they use if possible
	@.ci/install $(PEERS)
	@.ci/test $(SIMULATIONS)

.PHONY: cover
cover: ## check that the tests of limiter, limiter/watch and proxy/dialogue cover more than 90 %
	@.ci/cover 90 ./limiter ./limiter/watch ./limiter/watch/incident ./limiter/watch/report ./proxy/dialogue

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## measure postern and other proxies for 25 minutes, and write bench/README.md
	@.ci/install dovecot nginx haproxy
	go run ./cmd/postern-bench $(BENCH)

# The page has no build step. Its third-party files are committed; package.json and its
# lock pin them. For a newer version: npm install --package-lock-only --save-exact NAME@VERSION
# in that directory, then make page.
PAGE := cmd/postern/internal/page

.PHONY: page
page: ## renew the third-party files of the page and of its tests from npm
	@.ci/install npm
	cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund
	cd $(PAGE) && cp node_modules/uplot/LICENSE node_modules/uplot/dist/uPlot.esm.js node_modules/uplot/dist/uPlot.min.css static/vendor/uplot/
	cd $(PAGE) && cp node_modules/axe-core/LICENSE node_modules/axe-core/LICENSE-3RD-PARTY.txt node_modules/axe-core/axe.min.js testdata/axe-core/
	rm -r $(PAGE)/node_modules

.PHONY: lint
lint: ## check Go code, shell scripts and the files in deploy
	@.ci/install shellcheck systemd-analyze fail2ban-regex dovecot promtool amtool haproxy keepalived nft
	go run $(GOLANGCI) run
	@if [[ $${CI:-} = true ]] || command -v shellcheck >/dev/null; then shellcheck .ci/* cmd/postern/testdata/nested-systemd; fi
	.ci/deploy
