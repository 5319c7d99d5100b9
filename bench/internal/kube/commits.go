package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
)

// commits are nft's commits in one network namespace, as the kernel announces them: a message to
// the group NFNLGRP_NFTABLES, sent as soon as the new rules are in force (nf_tables_commit,
// net/netfilter/nf_tables_api.c). nft itself goes on for milliseconds after that.
type commits struct {
	clock *clock.Clock
	conn  *netlink.Conn
	seen  chan clock.Instant
	done  chan struct{}
	err   error // to be read after done
}

// announceLimit is how long an announcement may take to be read after nft has ended. It was sent
// before.
const announceLimit = 2 * time.Second

// newGeneration is the type of the message that ends a commit (linux/netfilter/nf_tables.h).
const newGeneration = netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWGEN)

// watchCommits watches the namespace of the calling thread. Close it.
func watchCommits(clk *clock.Clock) (*commits, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	c := &commits{clock: clk, conn: conn, seen: make(chan clock.Instant, 64), done: make(chan struct{})}
	go c.read()
	return c, nil
}

func (c *commits) read() {
	defer close(c.done)
	for {
		messages, err := c.conn.Receive()
		now := c.clock.Now()
		if errors.Is(err, unix.ENOBUFS) { // a long transaction's list of objects; its end may have been lost with it
			continue
		}
		if err != nil {
			c.err = err
			return
		}
		for _, m := range messages {
			if m.Header.Type == newGeneration && programOf(m) == "nft" {
				select {
				case c.seen <- now:
				default: // nobody has asked for the last 64
				}
			}
		}
	}
}

// programOf is who committed, or "" if the message does not say.
func programOf(m netlink.Message) string {
	const header = 4 // struct nfgenmsg
	if len(m.Data) < header {
		return ""
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[header:])
	if err != nil {
		return ""
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_GEN_PROC_NAME {
			return ad.String()
		}
	}
	return ""
}

// since is the first commit after an instant.
func (c *commits) since(ctx context.Context, began clock.Instant) (clock.Instant, error) {
	limit := time.NewTimer(announceLimit)
	defer limit.Stop()
	for {
		select {
		case at := <-c.seen:
			if at >= began {
				return at, nil
			}
		case <-c.done:
			return 0, fmt.Errorf("watch commits: %w", c.err)
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-limit.C:
			return 0, fmt.Errorf("watch commits: no announcement: %w", os.ErrDeadlineExceeded)
		}
	}
}

// Close ends the watching.
func (c *commits) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}
