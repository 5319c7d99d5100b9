package dns

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
)

const web = "web.default.svc.cluster.local."

// network connects a resolver to a server, inside a synctest bubble.
type network struct {
	server *Server
	delay  time.Duration // of an answer
	// fault returns the error with which question n (from 1) fails, or nil if it is answered.
	fault func(n int64) error
	asked atomic.Int64
	tcp   atomic.Int64 // questions over TCP; asked includes them
}

var errSilence = errors.New("no answer")

func (n *network) exchange(ctx context.Context, kind string, q *dns.Msg) (*dns.Msg, error) {
	i := n.asked.Add(1)
	if kind == "tcp" {
		n.tcp.Add(1)
	}
	var err error
	if n.fault != nil {
		err = n.fault(i)
	}
	var wait <-chan time.Time
	if !errors.Is(err, errSilence) {
		wait = time.After(n.delay)
	}
	select {
	case <-wait:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	w := &writer{network: kind}
	n.server.serve(w, q)
	return w.message, nil
}

// newResolver makes a resolver whose server knows web under two addresses, with a TTL of ten
// seconds.
func newResolver(t *testing.T, o Options) (*Resolver, *network) {
	t.Helper()
	n := &network{server: newServer(), delay: time.Millisecond}
	set(t, n.server, web, 10*time.Second, "198.18.1.2", "198.18.1.3")
	r, err := NewResolver(o)
	if err != nil {
		t.Fatal(err)
	}
	r.exchange = n.exchange
	return r, n
}

func lookUp(t *testing.T, r *Resolver, name string) Answer {
	t.Helper()
	a, err := r.Lookup(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// skipFirst waits until the first answer, whose age is random, has expired, and caches a new one.
func skipFirst(t *testing.T, r *Resolver, n *network) {
	t.Helper()
	lookUp(t, r, web)
	time.Sleep(11 * time.Second)
	lookUp(t, r, web)
	n.asked.Store(0)
}

// TestPolicies checks each policy along one timeline: the addresses change at 1 s.
func TestPolicies(t *testing.T) {
	type step struct {
		at    time.Duration // since the first answer was cached
		old   bool          // the answer has the addresses from before 1 s
		asked int64         // questions so far
		age   time.Duration
	}
	ms := time.Millisecond
	for _, tt := range []struct {
		policy vocabulary.DNSCache
		steps  []step
	}{
		{vocabulary.DNSCacheNone, []step{{500 * ms, true, 1, 0}, {600 * ms, true, 2, 0},
			{1001 * ms, false, 3, 0}, {time.Hour, false, 4, 0}}},
		{vocabulary.DNSCacheTTL, []step{{500 * ms, true, 0, 500 * ms},
			{9999 * ms, true, 0, 9999 * ms}, {10 * time.Second, false, 1, 0},
			{19 * time.Second, false, 1, 9*time.Second - ms},
			{20*time.Second + ms, false, 2, 0}}},
		{vocabulary.DNSCacheForever,
			[]step{{500 * ms, true, 0, 11*time.Second + 500*ms},
				{24 * time.Hour, true, 0, 24*time.Hour + 11*time.Second}}},
		// no connection is open
		{vocabulary.DNSCachePool, []step{{500 * ms, true, 1, 0}, {1001 * ms, false, 2, 0}}},
	} {
		t.Run(string(tt.policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, n := newResolver(t, Options{Policy: tt.policy})
				skipFirst(t, r, n)
				begin := time.Now()
				time.AfterFunc(time.Second, func() {
					set(t, n.server, web, 10*time.Second, "198.18.1.9")
				})
				for _, s := range tt.steps {
					time.Sleep(time.Until(begin.Add(s.at)))
					synctest.Wait()
					a := lookUp(t, r, web)
					old, asked := len(a.Addrs) == 2, n.asked.Load()
					if old != s.old || asked != s.asked || a.Age != s.age {
						t.Errorf("at %v: %v, age %v, %d questions; want old: %v, age %v, %d",
							s.at, a.Addrs, a.Age, asked, s.old, s.age, s.asked)
					}
					fromServer := a.Age == 0
					if fromServer != (a.Tries == 1) || fromServer != (a.Took == n.delay) {
						t.Errorf("at %v: took %v and %d tries, from the server: %v",
							s.at, a.Took, a.Tries, fromServer)
					}
				}
			})
		})
	}
}

// TestFirstAnswerHasAnAge checks that, over many seeds, the first answer expires at a uniform
// instant in (0, TTL], and later ones after the whole TTL.
func TestFirstAnswerHasAnAge(t *testing.T) {
	const ttl, seeds = 10, 3000
	first := func(t *testing.T, seed uint64) (phase, next time.Duration) {
		r, n := newResolver(t, Options{Policy: vocabulary.DNSCacheTTL, Seed: seed})
		n.delay = 0
		lookUp(t, r, web)
		begin := time.Now()
		phase = r.names[web].expires.Sub(begin)
		time.Sleep(phase)
		lookUp(t, r, web)
		if got := n.asked.Load(); got != 2 {
			t.Fatalf("seed %d: %d questions, want 2", seed, got)
		}
		return phase, time.Until(r.names[web].expires)
	}
	synctest.Test(t, func(t *testing.T) {
		var sum, squares float64
		for seed := range uint64(seeds) {
			phase, next := first(t, seed)
			if phase <= 0 || phase > ttl*time.Second || next != ttl*time.Second {
				t.Fatalf("seed %d: expires after %v, then after %v", seed, phase, next)
			}
			x := phase.Seconds() / ttl
			sum, squares = sum+x, squares+x*x
		}
		// A uniform variable on (0, 1] has the mean 1/2 ± 1/√(12n) and the variance 1/12. The
		// estimate of the variance has the standard deviation √((1/80 − 1/144)/n).
		mean := sum / seeds
		variance := squares/seeds - mean*mean
		if math.Abs(mean-0.5) > 5/math.Sqrt(12*seeds) ||
			math.Abs(variance-1./12) > 5*math.Sqrt((1./80-1./144)/seeds) {
			t.Errorf("mean %.4f, variance %.4f; want 0.5, 0.0833", mean, variance)
		}
		one, _ := first(t, 7)
		again, _ := first(t, 7)
		if one != again {
			t.Errorf("the same seed gave %v and %v", one, again)
		}
	})
}

// TestMissesTogetherAskOnce checks that simultaneous lookups of an uncached name send one question.
// With DNSCacheNone every lookup sends its own.
func TestMissesTogetherAskOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy vocabulary.DNSCache
		server func(*testing.T, *network)
		asked  int64
		err    error
	}{
		{"none", vocabulary.DNSCacheNone, nil, 50, nil},
		{"ttl", vocabulary.DNSCacheTTL, nil, 1, nil},
		{"ttl, an answer with TTL 0", vocabulary.DNSCacheTTL,
			func(t *testing.T, n *network) { set(t, n.server, web, 0, "198.18.1.2") }, 1, nil},
		{"ttl, no such name", vocabulary.DNSCacheTTL,
			func(t *testing.T, n *network) { set(t, n.server, web, 0) }, 1, ErrNoSuchName},
		{"ttl, no answer", vocabulary.DNSCacheTTL,
			func(_ *testing.T, n *network) { n.fault = func(int64) error { return errSilence } }, 2,
			ErrTimeout},
		{"forever", vocabulary.DNSCacheForever, nil, 1, nil},
		{"pool", vocabulary.DNSCachePool, nil, 1, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, n := newResolver(t, Options{Policy: tt.policy})
				if tt.server != nil {
					tt.server(t, n)
				}
				var all sync.WaitGroup
				var tries atomic.Int64
				for range 50 {
					all.Go(func() {
						a, err := r.Lookup(t.Context(), web)
						if !errors.Is(err, tt.err) {
							t.Errorf("error %v, want %v", err, tt.err)
						}
						var failed *LookupError
						if errors.As(err, &failed) {
							a.Tries, a.Took = failed.Tries, failed.Took
						}
						tries.Add(int64(a.Tries))
						if a.Took < n.delay {
							t.Errorf("waited %v, want at least %v", a.Took, n.delay)
						}
					})
				}
				all.Wait()
				if n.asked.Load() != tt.asked || tries.Load() != tt.asked {
					t.Errorf("%d questions, %d of them in Tries; want %d",
						n.asked.Load(), tries.Load(), tt.asked)
				}
			})
		})
	}
}

// TestLookupCancelled checks that a lookup that waits for another lookup's question sends its own
// when the other lookup is cancelled.
func TestLookupCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, n := newResolver(t, Options{Policy: vocabulary.DNSCacheTTL})
		n.delay = 3 * time.Second
		first, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		defer all.Wait()
		all.Go(func() {
			_, err := r.Lookup(first, web)
			var failed *LookupError
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrTimeout) ||
				!errors.As(err, &failed) || failed.Took != time.Second || failed.Tries != 1 {
				t.Errorf("the first lookup: %v, want its deadline after 1s and one try", err)
			}
		})
		synctest.Wait()
		second, cancel2 := context.WithCancel(t.Context())
		all.Go(func() {
			if _, err := r.Lookup(second, web); !errors.Is(err, context.Canceled) {
				t.Errorf("the second lookup: %v, want %v", err, context.Canceled)
			}
		})
		time.AfterFunc(500*time.Millisecond, cancel2)
		a := lookUp(t, r, web)
		if a.Took != 4*time.Second || a.Tries != 1 || n.asked.Load() != 2 {
			t.Errorf("the third lookup took %v and %d tries, %d questions; want 4s, 1, 2",
				a.Took, a.Tries, n.asked.Load())
		}
	})
}

// TestFailuresKept checks how long each policy caches a failure.
func TestFailuresKept(t *testing.T) {
	gone := func(t *testing.T, n *network) { set(t, n.server, web, 7*time.Second) }
	down := func(_ *testing.T, n *network) { n.fault = func(int64) error { return errSilence } }
	for _, tt := range []struct {
		name   string
		policy vocabulary.DNSCache
		fail   func(*testing.T, *network)
		want   time.Duration
	}{
		{"none, no such name", vocabulary.DNSCacheNone, gone, 0},
		{"ttl, no such name", vocabulary.DNSCacheTTL, gone, 7 * time.Second},
		{"ttl, no answer", vocabulary.DNSCacheTTL, down, 0},
		{"forever, no such name", vocabulary.DNSCacheForever, gone, 10 * time.Second},
		{"forever, no answer", vocabulary.DNSCacheForever, down, 10 * time.Second},
		{"pool, no such name", vocabulary.DNSCachePool, gone, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, n := newResolver(t, Options{Policy: tt.policy})
				if tt.policy == vocabulary.DNSCacheTTL {
					skipFirst(t, r, n)
					time.Sleep(10 * time.Second)
				}
				tt.fail(t, n)
				if _, err := r.Lookup(t.Context(), web); err == nil {
					t.Fatal("no failure")
				}
				begin := time.Now()
				n.fault = nil
				set(t, n.server, web, time.Second, "198.18.1.4")
				var kept time.Duration
				for {
					if _, err := r.Lookup(t.Context(), web); err == nil {
						break
					}
					time.Sleep(100 * time.Millisecond)
					kept = time.Since(begin)
				}
				if kept != tt.want {
					t.Errorf("kept for %v, want %v", kept, tt.want)
				}
			})
		})
	}
}

// TestPool checks that an answer stays cached as long as any connection of the pool is open.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, n := newResolver(t, Options{Policy: vocabulary.DNSCachePool})
		expect := func(when string, asked int64) {
			t.Helper()
			lookUp(t, r, web)
			if got := n.asked.Load(); got != asked {
				t.Errorf("%s: %d questions, want %d", when, got, asked)
			}
		}
		expect("at first", 1)
		r.Opened(web)
		time.Sleep(time.Hour)
		expect("a second connection, much later", 1)
		r.Opened("WEB.default.svc.cluster.local.")
		r.Closed(web)
		expect("one of two is closed", 1)
		r.Closed(web)
		expect("the pool is empty", 2)
		n.fault = func(int64) error { return dns.ErrShortRead }
		if _, err := r.Lookup(t.Context(), web); !errors.Is(err, ErrServer) {
			t.Errorf("error %v, want %v", err, ErrServer)
		}
		n.fault = nil
		r.Opened(web) // opening a connection does not restore the expired answer
		expect("the last lookup failed", 5)
		r.Closed(web)
		defer func() {
			if recover() == nil {
				t.Error("no panic for one Closed too many")
			}
		}()
		r.Closed(web)
	})
}

func TestTries(t *testing.T) {
	refused := &net.OpError{Op: "read", Err: unix.ECONNREFUSED}
	for _, tt := range []struct {
		name    string
		options Options
		fault   func(n int64) error
		limit   time.Duration // the caller's timeout
		took    time.Duration
		tries   int
		err     error
	}{
		{"resolv.conf's defaults", Options{}, func(int64) error { return errSilence }, time.Minute, 10 * time.Second, 2, ErrTimeout},
		{"other limits", Options{Timeout: 300 * time.Millisecond, Tries: 3}, func(int64) error { return errSilence }, time.Minute, 900 * time.Millisecond, 3, ErrTimeout},
		{"a lost question", Options{}, func(n int64) error {
			if n == 1 {
				return errSilence
			}
			return nil
		}, time.Minute, 5*time.Second + time.Millisecond, 2, nil},
		{"no listener: no wait", Options{}, func(int64) error { return refused }, time.Minute, 2 * time.Millisecond, 2, unix.ECONNREFUSED},
		{"not a DNS message", Options{Tries: 1}, func(int64) error { return dns.ErrShortRead }, time.Minute, time.Millisecond, 1, ErrServer},
		{"the caller has less time", Options{}, func(int64) error { return errSilence }, 7 * time.Second, 7 * time.Second, 2, context.DeadlineExceeded},
		{"the caller has no time", Options{}, nil, 0, 0, 0, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.options.Policy = vocabulary.DNSCacheNone
				r, n := newResolver(t, tt.options)
				n.fault = tt.fault
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				a, err := r.Lookup(ctx, web)
				if !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
				var failed *LookupError
				if errors.As(err, &failed) {
					a.Took, a.Tries = failed.Took, failed.Tries
				}
				asked := int(n.asked.Load())
				if a.Took != tt.took || a.Tries != tt.tries || asked != tt.tries {
					t.Errorf("took %v, tries %d, %d questions; want %v, %d",
						a.Took, a.Tries, asked, tt.took, tt.tries)
				}
			})
		})
	}
}

func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, n := newResolver(t, Options{Policy: vocabulary.DNSCacheNone})
		for _, tt := range []struct {
			name, lookup string
			err          error
		}{
			{"no such name", "none.default.svc.cluster.local.", ErrNoSuchName},
			{"a name without addresses", "default.svc.cluster.local.", ErrNoAddress},
			{"another zone", "example.com.", ErrServer},
			{"upper case", "Web.Default.svc.cluster.local.", nil},
		} {
			if _, err := r.Lookup(t.Context(), tt.lookup); !errors.Is(err, tt.err) {
				t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
			}
		}
		n.asked.Store(0)
		_, err := r.Lookup(t.Context(), "web")
		if asked := n.asked.Load(); err == nil || asked != 0 {
			t.Errorf("a relative name: error %v, %d questions; want an error and none", err, asked)
		}
		want := &LookupError{
			Name: "none.default.svc.cluster.local.",
			Took: time.Millisecond, Tries: 1, Err: ErrNoSuchName,
		}
		_, err = r.Lookup(t.Context(), want.Name)
		if diff := cmp.Diff(want.Error(), err.Error()); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	})
}

// TestLargeAnswers checks that a large answer is fetched over TCP, after UDP.
func TestLargeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, n := newResolver(t, Options{Policy: vocabulary.DNSCacheNone})
		var addrs []netip.Addr
		for i := range byte(100) {
			addrs = append(addrs, netip.AddrFrom4([4]byte{198, 18, 1, i}))
		}
		if _, err := n.server.Set(web, addrs, 0); err != nil {
			t.Fatal(err)
		}
		a := lookUp(t, r, web)
		asked, tcp := n.asked.Load(), n.tcp.Load()
		if len(a.Addrs) != 100 || asked != 2 || tcp != 1 || a.Tries != 1 || a.Took != 2*n.delay {
			t.Errorf("%d addresses by %d exchanges, %d of them TCP, %d tries, took %v; "+
				"want 100 by 2, 1 TCP, 1 try, %v",
				len(a.Addrs), asked, tcp, a.Tries, a.Took, 2*n.delay)
		}
	})
}

func TestNewResolverRefuses(t *testing.T) {
	for _, row := range vocabulary.DNSCaches() {
		if _, err := NewResolver(Options{Policy: row.Name}); err != nil {
			t.Error(err)
		}
	}
	for name, o := range map[string]Options{
		"no policy":          {},
		"an unknown policy":  {Policy: "always"},
		"a negative timeout": {Policy: vocabulary.DNSCacheTTL, Timeout: -1},
		"negative tries":     {Policy: vocabulary.DNSCacheTTL, Tries: -1},
	} {
		if _, err := NewResolver(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
