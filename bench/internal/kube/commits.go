package kube

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
)

// commits receives the kernel's announcements of commits in one network namespace. The kernel sends
// messages to the group NFNLGRP_NFTABLES as soon as new rules are in force: one for each changed
// object, and one that ends the commit (nf_tables_commit, net/netfilter/nf_tables_api.c). nft
// itself runs some milliseconds longer.
type commits struct {
	clock *clock.Clock
	conn  *netlink.Conn
	seen  chan commit
	done  chan struct{}
	err   error // set before done is closed
}

// A commit is one transaction of nftables.
type commit struct {
	at clock.Instant
	// generation identifies the ruleset that the commit brought into force. It is 0 if
	// announcements were lost.
	generation uint32
	ours       bool // it may have changed the table kube-proxy of IPv4
}

// announceLimit is the maximum time to wait for an announcement after nft has exited. The kernel
// has already sent it by then.
const announceLimit = 2 * time.Second

// announceBuffer is the size of the buffer for announcements, in bytes. kube-proxy writes most of
// its table in each sync.
const announceBuffer = 4 << 20

// The type of the message that ends a commit, and the part of the type that all messages of
// nftables share (linux/netfilter/nf_tables.h).
const (
	newGeneration = netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWGEN)
	subsystem     = netlink.HeaderType(0xff00)
)

// watchCommits watches the network namespace of the calling thread. The caller closes the result.
func watchCommits(clk *clock.Clock) (*commits, error) {
	groups := &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, groups)
	if err == nil {
		err = conn.SetReadBuffer(announceBuffer)
	}
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	c := &commits{
		clock: clk, conn: conn, seen: make(chan commit, 64), done: make(chan struct{}),
	}
	go c.read()
	return c, nil
}

func (c *commits) read() {
	defer close(c.done)
	ours := false
	for {
		messages, err := c.conn.Receive()
		now := c.clock.Now()
		// The announcement of a long transaction lists many objects, which overflowed the buffer.
		// The message that ends the commit may be lost, too. The rules are in force already.
		if errors.Is(err, unix.ENOBUFS) {
			c.add(commit{at: now, ours: true})
			continue
		}
		if err != nil {
			c.err = err
			return
		}
		for _, m := range messages {
			if m.Header.Type != newGeneration {
				ours = ours || inTable(m)
				continue
			}
			c.add(commit{at: now, generation: generationOf(m), ours: ours})
			ours = false
		}
	}
}

// add passes a commit on, unless the last 64 commits have not been read yet.
func (c *commits) add(one commit) {
	select {
	case c.seen <- one:
	default:
	}
}

// inTable reports whether the object that a message announces belongs to the table kube-proxy of
// IPv4. The table's name is attribute 1 of every object (NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and so
// on).
func inTable(m netlink.Message) bool {
	if m.Header.Type&subsystem != newGeneration&subsystem || len(m.Data) == 0 ||
		m.Data[0] != unix.NFPROTO_IPV4 {
		return false
	}
	return attribute(m, unix.NFTA_TABLE_NAME, (*netlink.AttributeDecoder).String) == tableName
}

// generationOf returns the generation in a message of type newGeneration, or 0 if it has none.
func generationOf(m netlink.Message) uint32 {
	return attribute(m, unix.NFTA_GEN_ID, (*netlink.AttributeDecoder).Uint32)
}

// attribute decodes an attribute of a message of nftables. It returns the zero value if the message
// does not contain it.
func attribute[T any](m netlink.Message, kind uint16, of func(*netlink.AttributeDecoder) T) (v T) {
	const header = 4 // struct nfgenmsg
	if len(m.Data) < header {
		return v
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[header:])
	if err != nil {
		return v
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		if ad.Type() == kind {
			return of(ad)
		}
	}
	return v
}

// since returns the instant of the first commit of the table at or after the instant began.
func (c *commits) since(ctx context.Context, began clock.Instant) (clock.Instant, error) {
	limit := time.NewTimer(announceLimit)
	defer limit.Stop()
	for {
		select {
		case one := <-c.seen:
			if one.ours && one.at >= began {
				return one.at, nil
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
