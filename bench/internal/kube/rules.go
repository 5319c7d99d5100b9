package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/knftables"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/clock"
)

// Rules programs the rules of the services on one node, as kube-proxy's nftables mode does for TCP
// over IPv4.
//
// A change affects only new connections. Connection tracking keeps existing connections at their
// endpoint. Rules does not flush it: kube-proxy does so only for UDP (pkg/proxy/conntrack).
//
// knftables runs nft(8) as a child, by os/exec, and cannot choose the child's network namespace. A
// child starts in the namespace of the thread that forks it, so Rules has its own thread in the
// node's namespace, and the lab's thread stays free for other work. Rules waits for each child,
// which runs for milliseconds, so children need not be in the lab's PID namespace.
type Rules struct {
	clock   *clock.Clock
	node    string
	calls   chan func()
	done    chan struct{} // closed when the thread has ended
	close   sync.Once
	nft     knftables.Interface
	commits *commits

	mu      sync.Mutex
	current ruleset
	synced  []Service                // from which current was made
	known   bool                     // whether current is in force; if not, create the table again
	since   clock.Instant            // when current came into force
	stale   map[string]clock.Instant // when each unused chain was emptied
}

// staleFor is the time for which an emptied chain is kept. kube-proxy uses the same time.
const staleFor = time.Second

// NewRules creates the table of rules on a host of the lab, without services. It replaces an
// existing table. It needs nft on the PATH (Debian installs it in /usr/sbin) and CAP_NET_ADMIN in
// the namespace. The caller closes the Rules before the lab. The table stays until the lab is
// closed.
func NewRules(
	ctx context.Context, lab *netlab.Lab, host *netlab.Host, clk *clock.Clock,
) (*Rules, error) {
	r := &Rules{
		clock: clk, node: host.Name, calls: make(chan func()), done: make(chan struct{}),
		stale: map[string]clock.Instant{},
	}
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

// thread runs the calls on a locked OS thread. It never unlocks that thread, so the thread ends
// together with the goroutine, and no other goroutine can run in its namespace.
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
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	if r.nft, err = knftables.New(knftables.IPv4Family, tableName); err != nil {
		return fmt.Errorf("%w: install nft, and put it on the PATH (it may be in /usr/sbin)", err)
	}
	r.commits, err = watchCommits(r.clock)
	return err
}

// Sync makes the rules match the services, in one transaction that contains only the changes. It
// returns the instant at which these rules came into force: that of this commit or, if the services
// are the same as before, of an earlier one. If a service has changed, but its rules have not (an
// endpoint that is not ready has come or gone), Sync writes them again: so does kube-proxy, and the
// min sync period counts from the end of that sync. If Sync fails, it assumes that nothing was
// committed, and the next Sync creates the table again.
func (r *Rules) Sync(ctx context.Context, services []Service) (clock.Instant, error) {
	wanted, err := newRuleset(services)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	tx := r.nft.NewTransaction()
	if !r.known {
		createTable(tx)
		r.current, r.stale = ruleset{}, map[string]clock.Instant{}
	}
	stale := change(tx, r.current, wanted)
	if tx.NumOperations() == 0 {
		rewrite(tx, wanted, r.synced, services)
	}
	if tx.NumOperations() == 0 {
		return r.since, nil
	}
	now := r.clock.Now()
	for name, since := range r.stale {
		if _, used := wanted.chains[name]; used {
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
	r.current, r.known, r.since = wanted, true, at
	r.synced = slices.Clone(services)
	return at, nil
}

// commit runs the transaction and returns the instant at which it came into force, according to the
// kernel's announcement.
func (r *Rules) commit(ctx context.Context, tx *knftables.Transaction) (clock.Instant, error) {
	began := r.clock.Now()
	if err := r.run(func() error { return r.nft.Run(ctx, tx) }); err != nil {
		return 0, err
	}
	return r.commits.since(ctx, began)
}

// Close ends the thread. The rules stay in force. Further calls do nothing. No other method may be
// called after Close.
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
