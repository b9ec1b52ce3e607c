package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"postern/cmd/postern/internal/firewall"
)

// This file has what `postern decisions` does with the sources that a firewall should drop.

const decisionsHelp = `list what operators have decided, or end a decision:

With -format or -compare it is about the sources that a firewall should drop: those that postern has refused again and again.
postern changes no firewall. deploy/nft has a unit that does, and /v1/decisions/stream serves the list to CrowdSec's bouncers.`

// wantedByFirewall fetches the list and checks it: what it becomes may run with more privileges than the gateway has.
func (p process) wantedByFirewall(ctx context.Context) ([]firewall.Wanted, error) {
	client, err := p.operatorClient()
	if err != nil {
		return nil, err
	}
	var list firewall.Stream
	if err := client.GetJSON(ctx, firewall.StreamPath+"?startup=true&simulated=true", &list); err != nil {
		return nil, err
	}
	return firewall.Read(&list)
}

// printFirewall prints the list in a format. If it cannot, it prints nothing.
func (p process) printFirewall(ctx context.Context, format string) error {
	write := firewall.WritePlain
	switch format {
	case "nft":
		write = firewall.WriteNFT
	case "plain":
	default:
		return wrongUsage("got -format %.32q, want nft or plain", format)
	}
	all, err := p.wantedByFirewall(ctx)
	if err != nil {
		return err
	}
	return write(p.stdout, all)
}

// compareFirewall compares the list with what a firewall has, and prints one line about that.
func (p process) compareFirewall(ctx context.Context, path string) error {
	present, err := readPresent(path)
	if err != nil {
		return err
	}
	all, err := p.wantedByFirewall(ctx)
	if err != nil {
		return err
	}
	c, err := firewall.Compare(time.Now(), all, present)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, c)
	if !c.OK() {
		return exitCode(exitFailure)
	}
	return nil
}

// presentMax is the most that is read of what a firewall has, in octets.
const presentMax = 64 << 20

// readPresent reads what a firewall has from a file, or from standard input if its name is "-".
func readPresent(path string) (text []byte, err error) {
	file := os.Stdin
	if path != "-" {
		if file, err = os.Open(path); err != nil {
			return nil, err
		}
		defer file.Close()
	}
	if text, err = io.ReadAll(io.LimitReader(file, presentMax+1)); err == nil && len(text) > presentMax {
		err = errors.New("what the firewall has is too long")
	}
	return text, err
}
