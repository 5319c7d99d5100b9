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

// commits receives the kernel's announcements of nft's commits in one network namespace. The kernel
// sends a message to the group NFNLGRP_NFTABLES as soon as new rules are in force
// (nf_tables_commit, net/netfilter/nf_tables_api.c). nft itself runs some milliseconds longer.
type commits struct {
	clock *clock.Clock
	conn  *netlink.Conn
	seen  chan clock.Instant
	done  chan struct{}
	err   error // set before done is closed
}

// announceLimit is the maximum time to wait for an announcement after nft has exited. The kernel
// has already sent it by then.
const announceLimit = 2 * time.Second

// newGeneration is the type of the message that ends a commit (linux/netfilter/nf_tables.h).
const newGeneration = netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWGEN)

// watchCommits watches the network namespace of the calling thread. The caller closes the result.
func watchCommits(clk *clock.Clock) (*commits, error) {
	groups := &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, groups)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	c := &commits{
		clock: clk, conn: conn, seen: make(chan clock.Instant, 64), done: make(chan struct{}),
	}
	go c.read()
	return c, nil
}

func (c *commits) read() {
	defer close(c.done)
	for {
		messages, err := c.conn.Receive()
		now := c.clock.Now()
		// The announcement of a long transaction lists many objects, which overflowed the buffer.
		// The message that ends the commit may be lost, too.
		if errors.Is(err, unix.ENOBUFS) {
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
				default: // the last 64 commits have not been read yet
				}
			}
		}
	}
}

// programOf returns the name of the program that committed, or "" if the message does not contain
// it.
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

// since returns the instant of the first commit at or after the instant began.
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

// Close stops watching.
func (c *commits) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}
