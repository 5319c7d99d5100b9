package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/knftables"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/clock"
)

// Rules are the service rules of one node: what kube-proxy in nftables mode would have there, for
// TCP over IPv4.
//
// A change of them is for new connections only. Those that are there keep the endpoint that they
// have, by conntrack, which is not flushed: kube-proxy does so for UDP alone (pkg/proxy/conntrack).
//
// knftables runs nft(8) as a child, by os/exec, with no say in where. A child begins in the network
// namespace of the thread that forks it, so Rules has a thread of its own in the node's; the lab's
// thread stays free for others meanwhile. The children last milliseconds and are waited for, so
// they need not be in the lab's PID namespace.
type Rules struct {
	clock   *clock.Clock
	node    string
	calls   chan func()
	done    chan struct{} // the thread has ended
	close   sync.Once
	nft     knftables.Interface
	commits *commits

	mu    sync.Mutex
	is    ruleset
	known bool                     // is: otherwise the table is made anew
	since clock.Instant            // when they came into force
	stale map[string]clock.Instant // emptied chains, since when
}

// staleFor is how long an emptied chain is kept. kube-proxy keeps them for a second too.
const staleFor = time.Second

// NewRules makes the table on a host of the lab, without services. An earlier one there is
// replaced. It needs nft on the PATH (in Debian it is in /usr/sbin) and CAP_NET_ADMIN in the
// namespace. Close it before the lab. The rules are gone with the lab, not before.
func NewRules(ctx context.Context, lab *netlab.Lab, host *netlab.Host, clk *clock.Clock) (*Rules, error) {
	r := &Rules{clock: clk, node: host.Name, calls: make(chan func()), done: make(chan struct{}), stale: map[string]clock.Instant{}}
	var ns *os.File
	err := lab.Do(host, func() (err error) {
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rules of %s: %w", host.Name, err)
	}
	go r.thread()
	err = r.run(func() error { return r.enter(ns) })
	err = errors.Join(err, ns.Close())
	if err == nil {
		_, err = r.Sync(ctx, nil)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("rules of %s: %w", host.Name, err), r.Close())
	}
	return r, nil
}

// thread never unlocks its thread, so the thread ends with the goroutine, and nobody else meets its
// namespace.
func (r *Rules) thread() {
	runtime.LockOSThread()
	defer close(r.done)
	for f := range r.calls {
		f()
	}
}

func (r *Rules) run(f func() error) error {
	result := make(chan error, 1)
	r.calls <- func() { result <- f() }
	return <-result
}

func (r *Rules) enter(ns *os.File) (err error) {
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter its network namespace: %w", err)
	}
	if r.nft, err = knftables.New(knftables.IPv4Family, tableName); err != nil {
		return fmt.Errorf("%w; is nft installed and on the PATH (/usr/sbin)?", err)
	}
	r.commits, err = watchCommits(r.clock)
	return err
}

// Sync makes the rules those of the services, in one transaction that holds only what has changed.
// It returns the instant since which they are in force: of its own commit, or of an earlier one if
// there was nothing to change. When it fails, nothing has been committed as far as is known, and
// the next Sync makes the table anew.
func (r *Rules) Sync(ctx context.Context, services []Service) (clock.Instant, error) {
	shall, err := newRuleset(services)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	tx := r.nft.NewTransaction()
	if !r.known {
		found(tx)
		r.is, r.stale = ruleset{}, map[string]clock.Instant{}
	}
	stale := change(tx, r.is, shall)
	if tx.NumOperations() == 0 {
		return r.since, nil
	}
	now := r.clock.Now()
	for name, since := range r.stale {
		if _, wanted := shall.chains[name]; wanted {
			delete(r.stale, name)
		} else if now.Sub(since) > staleFor {
			tx.Delete(&knftables.Chain{Name: name})
			delete(r.stale, name)
		}
	}
	for _, name := range stale {
		r.stale[name] = now
	}
	r.known = false
	at, err := r.commit(ctx, tx)
	if err != nil {
		return 0, fmt.Errorf("nftables: %w", err)
	}
	r.is, r.known, r.since = shall, true, at
	return at, nil
}

// commit runs the transaction and returns when it came into force, by the kernel's own
// announcement.
func (r *Rules) commit(ctx context.Context, tx *knftables.Transaction) (clock.Instant, error) {
	began := r.clock.Now()
	if err := r.run(func() error { return r.nft.Run(ctx, tx) }); err != nil {
		return 0, err
	}
	return r.commits.since(ctx, began)
}

// Close ends the thread. The rules stay. Nothing may be called after it but Close itself, which
// then does nothing.
func (r *Rules) Close() (err error) {
	r.close.Do(func() {
		close(r.calls)
		<-r.done
		if r.commits != nil {
			err = r.commits.Close()
		}
	})
	return err
}
