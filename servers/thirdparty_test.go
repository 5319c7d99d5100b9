package servers

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
)

// A fakeServer is a third-party server without processes. It becomes ready when ready is closed,
// and exits when exit is closed or its context ends.
type fakeServer struct {
	ready, exit chan struct{}
	gone        chan struct{} // nil: never
	startErr    error

	mu      sync.Mutex
	listens bool
	closed  int
}

func (s *fakeServer) Start(ctx context.Context) error {
	select {
	case <-s.ready:
		return s.startErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeServer) Stop(ctx context.Context) error {
	select {
	case <-s.exit:
	case <-ctx.Done():
	}
	return nil
}

func (s *fakeServer) Gone() <-chan struct{} { return s.gone }

func (s *fakeServer) Listens() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listens
}

func (s *fakeServer) listen(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listens = is
}

func (s *fakeServer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
	return nil
}

func thirdPartyGroup(t *testing.T, s *fakeServer) (*Group, *clock.Clock) {
	t.Helper()
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGroup(Config{
		Kind: vocabulary.ServerCommand, Sockets: vocabulary.SocketsServer, Workers: 1,
		Address: netip.MustParseAddrPort("127.0.0.1:1"), Grace: time.Minute,
	}, Env{
		ThirdParty: func(*Worker) (ThirdParty, error) { return s, nil }, Clock: clk,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g, clk
}

// await waits until the channel is closed.
func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not within 10 s", what)
	}
}

// A third-party server listens before it is ready. When it is told to stop, it closes its listener
// before it exits.
func TestThirdParty(t *testing.T) {
	s := &fakeServer{ready: make(chan struct{}), exit: make(chan struct{})}
	g, clk := thirdPartyGroup(t, s)
	ctx := t.Context()
	w, err := g.LaunchWorker(ctx, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.listen(true)
	time.Sleep(4 * lookStarting)
	beforeReady := clk.Now()
	close(s.ready)
	if err := g.AwaitWorker(ctx, w); err != nil {
		t.Fatal(err)
	}
	if at := w.ReadyAt(); at == 0 || at > beforeReady || !w.Serves() {
		t.Errorf("seen listening at %v, ready after %v; serves: %v", at, beforeReady, w.Serves())
	}
	time.AfterFunc(20*time.Millisecond, func() { s.listen(false) })
	trigger, closed, err := g.Stop(ctx, []*Worker{w}, vocabulary.StopClose)
	if err != nil {
		t.Fatal(err)
	}
	c := w.Closing()
	if c.Mode != vocabulary.StopClose || closed != c.To || c.To < c.From ||
		c.From < trigger.Add(10*time.Millisecond) {
		t.Errorf("told to stop at %v, closed at %v: %+v", trigger, closed, c)
	}
	select {
	case <-w.Exited():
		t.Error("it has exited before its processes have")
	default:
	}
	close(s.exit)
	await(t, "exit", w.Exited())
	if s.closed != 1 || w.Err() != nil {
		t.Errorf("closed %d times, %v", s.closed, w.Err())
	}
}

// A third-party server that does not stop is killed, which closes its listener.
func TestThirdPartyKilled(t *testing.T) {
	s := &fakeServer{ready: make(chan struct{}), exit: make(chan struct{}), listens: true}
	close(s.ready)
	g, _ := thirdPartyGroup(t, s)
	gen, err := g.StartGeneration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := gen.Workers[0]
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := g.Stop(ctx, gen.Workers, vocabulary.StopClose); err == nil {
		t.Error("it has closed its listener, although it listens")
	}
	if _, _, err := g.Stop(t.Context(), gen.Workers, vocabulary.StopKill); err != nil {
		t.Fatal(err)
	}
	await(t, "exit", w.Exited())
	if c := w.Closing(); c.Mode != vocabulary.StopKill || c.To == 0 || w.Err() != nil {
		t.Errorf("%+v, %v", c, w.Err())
	}
}

// If a third-party server cannot be started, its error is that of the generation.
func TestThirdPartyFails(t *testing.T) {
	want := errors.New("no such file")
	s := &fakeServer{ready: make(chan struct{}), startErr: want}
	close(s.ready)
	g, _ := thirdPartyGroup(t, s)
	if _, err := g.StartGeneration(t.Context()); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if s.closed != 1 {
		t.Errorf("closed %d times", s.closed)
	}
}

// A third-party server that others end, as they were expected to, has ended with its listener. That
// is no error, and nobody has to stop it.
func TestThirdPartyGone(t *testing.T) {
	s := &fakeServer{ready: make(chan struct{}), gone: make(chan struct{}), listens: true}
	close(s.ready)
	g, clk := thirdPartyGroup(t, s)
	gen, err := g.StartGeneration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := gen.Workers[0]
	before := clk.Now()
	w.Expect()
	close(s.gone)
	await(t, "exit", w.Exited())
	if c := w.Closing(); c.Mode != vocabulary.StopKill || c.From < before || c.To < c.From {
		t.Errorf("after %v: %+v", before, c)
	}
	if s.closed != 1 || w.Err() != nil || w.Serves() {
		t.Errorf("closed %d times, %v, serves %v", s.closed, w.Err(), w.Serves())
	}
}

// SIGTERM from others stops a third-party server, and the first one counts.
func TestThirdPartyTerminated(t *testing.T) {
	s := &fakeServer{ready: make(chan struct{}), exit: make(chan struct{})}
	close(s.ready)
	g, clk := thirdPartyGroup(t, s)
	gen, err := g.StartGeneration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, at := gen.Workers[0], clk.Now()
	w.Terminated(at)
	w.Terminated(at.Add(time.Second))
	close(s.exit)
	await(t, "exit", w.Exited())
	if w.TermAt() != at || w.Closing().Mode != vocabulary.StopClose || w.Err() != nil {
		t.Errorf("SIGTERM at %v, want %v; %+v, %v", w.TermAt(), at, w.Closing(), w.Err())
	}
}
