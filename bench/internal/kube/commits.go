package kube

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
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
	done  chan struct{}
	err   error         // set before done is closed
	seen  chan struct{} // gets an element with each commit, and keeps one

	mu   sync.Mutex // guards left
	left []commit   // seen and not taken yet, in order
}

// A commit is one transaction of nftables.
type commit struct {
	at clock.Instant
	// generation identifies the ruleset that the commit brought into force. It is 0 if
	// announcements were lost.
	generation uint32
	ours       bool // it may have changed a table with rules of a kube-proxy, of IPv4
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
		clock: clk, conn: conn, seen: make(chan struct{}, 1), done: make(chan struct{}),
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

// add keeps a commit until it is taken, however many there are.
func (c *commits) add(one commit) {
	c.mu.Lock()
	c.left = append(c.left, one)
	c.mu.Unlock()
	select {
	case c.seen <- struct{}{}:
	default: // seen has an element already
	}
}

// take returns the commits since the last call, in order.
func (c *commits) take() []commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.left
	c.left = nil
	return all
}

// inTable reports whether the object that a message announces belongs to a table of IPv4 with rules
// of a kube-proxy. The table's name is attribute 1 of every object (NFTA_TABLE_NAME,
// NFTA_CHAIN_TABLE and so on).
func inTable(m netlink.Message) bool {
	if m.Header.Type&subsystem != newGeneration&subsystem || len(m.Data) == 0 ||
		m.Data[0] != unix.NFPROTO_IPV4 {
		return false
	}
	name := attribute(m, unix.NFTA_TABLE_NAME, (*netlink.AttributeDecoder).String)
	return name == tableName || name == natTableName
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
		case <-c.seen:
			for _, one := range c.take() {
				if one.ours && one.at >= began {
					return one.at, nil
				}
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
