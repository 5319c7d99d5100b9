package witness

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

// kernelTypes is shared by all witnesses, so that the kernel's types are read only once, as in a
// run.
var kernelTypes = btf.NewCache()

// A setup is a kind of server that the test runs, and the way in which that server is stopped.
type setup struct {
	kind    vocabulary.ServerKind
	accept  vocabulary.AcceptMode
	sockets vocabulary.Sockets
	stop    vocabulary.StopModeRow
	work    time.Duration
}

func (s setup) String() string {
	return fmt.Sprintf("%s/%s/%s/%s/%v", s.kind, s.accept, s.sockets, s.stop.Name, s.work)
}

// setups returns all setups that need no cluster and no proxy.
func setups(root bool) (all []setup) {
	for _, kind := range vocabulary.WorkerKinds() {
		for _, stop := range vocabulary.StopModes() {
			if !stop.Kind.Allows(kind.Name) || len(stop.Path.Values) > 0 || stop.Unlists && !root {
				continue
			}
			for _, sockets := range []vocabulary.Sockets{
				vocabulary.SocketsShared, vocabulary.SocketsReuseport, vocabulary.SocketsExclusive,
			} {
				if !stop.Sockets.Allows(sockets) ||
					sockets == vocabulary.SocketsExclusive && !stop.Rebinds {
					continue
				}
				all = append(all, setup{kind.Name, kind.Accept, sockets, stop, workTime(len(all))})
			}
		}
	}
	for _, accept := range vocabulary.AcceptModes() {
		own := accept.Name == vocabulary.ServerLoop.Row().Accept // listed above
		if own || !accept.Kind.Allows(vocabulary.ServerLoop) {
			continue
		}
		all = append(all, setup{
			vocabulary.ServerLoop, accept.Name, vocabulary.SocketsShared,
			vocabulary.StopKill.Row(), workTime(len(all)),
		})
	}
	return all
}

// workTime returns the time that a request takes in the ith setup. In every second setup it is so
// long that requests wait unread.
func workTime(i int) time.Duration {
	if i%2 == 0 {
		return 3 * time.Millisecond
	}
	return 300 * time.Microsecond
}

// An account is a worker's journal about one connection.
type account struct {
	worker    *servers.Worker
	accepted  clock.Instant
	requested []clock.Instant
	answered  []clock.Instant
	end       journal.End // 0: the worker died before the connection ended
	errno     unix.Errno
	ended     clock.Instant
}

// A rig is a group of workers with their journals.
type rig struct {
	*servers.Group
	t        testing.TB
	setup    setup
	target   netip.AddrPort
	accounts map[netip.AddrPort][]*account
	open     map[[2]int]*account // by worker and connection
	clock    *clock.Clock
	current  *servers.Generation
}

const workersPerGeneration = 2

func newRig(t testing.TB, s setup) *rig {
	t.Helper()
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, setup: s, target: freePort(t), clock: clk,
		accounts: map[netip.AddrPort][]*account{}, open: map[[2]int]*account{},
	}
	cfg := servers.Config{
		Kind: s.kind, Accept: s.accept, Sockets: s.sockets, Workers: workersPerGeneration,
		Address: r.target, Backlog: 128,
		Handover: s.stop.Handover, ListedOnly: s.stop.Unlists,
		BPFMigrates: s.stop.Name == vocabulary.StopBPFMigrate,
		Grace:       200 * time.Millisecond,
		Work:        servers.Work{Sleep: s.work},
	}
	if s.sockets == vocabulary.SocketsExclusive {
		cfg.Workers = 1
	}
	migrate := "0"
	if s.stop.Name == vocabulary.StopMigrate {
		migrate = "1"
	}
	if err := netlab.WriteSysctl("net.ipv4.tcp_migrate_req", migrate); err != nil {
		t.Fatal(err)
	}
	r.Group, err = servers.NewGroup(cfg, servers.Env{
		Command: func() *exec.Cmd {
			c := exec.Command("/proc/self/exe", childWorker)
			c.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
			return c
		},
		Start:   func(c *exec.Cmd, _ []int) error { return c.Start() },
		Do:      do,
		Account: r.account,
		Clock:   clk,
		HalfOpen: func() (map[uint64]int, error) {
			reader, err := kernel.NewHalfOpenReader(kernelTypes)
			if err != nil {
				return nil, err
			}
			all, err := reader.Read()
			return all, errors.Join(err, reader.Close())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// do just runs f, because the whole process is already in the servers' network namespace.
func do(f func() error) error { return f() }

// freePort returns an address for the servers at which no socket listens.
func freePort(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func (r *rig) account(w *servers.Worker, rec journal.Record) {
	key := [2]int{w.ID, int(rec.Conn)}
	if rec.Kind == journal.Accepted {
		a := &account{worker: w, accepted: rec.At}
		r.open[key] = a
		r.accounts[rec.Peer] = append(r.accounts[rec.Peer], a)
		return
	}
	a := r.open[key]
	switch rec.Kind {
	case journal.Requested:
		a.requested = append(a.requested, rec.At)
	case journal.Answered:
		a.answered = append(a.answered, rec.At)
	case journal.Ended:
		a.end, a.errno, a.ended = rec.End, rec.Errno, rec.At
	}
}

// start starts the first generation.
func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.current, err = r.StartGeneration(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// restart replaces the generation by a new one.
func (r *rig) restart() error {
	ctx, old := r.t.Context(), r.current
	if r.setup.accept.Row().Passes { // an acceptor knows only the workers that it started with
		if len(old.Workers) < workersPerGeneration {
			return nil
		}
		r.current.Workers = old.Workers[1:]
		_, _, err := r.Stop(ctx, old.Workers[:1], r.setup.stop.Name)
		return err
	}
	if !r.setup.stop.Rebinds {
		next, err := r.StartGeneration(ctx)
		if err != nil {
			return err
		}
		r.current = next
		_, _, err = r.Stop(ctx, old.Workers, r.setup.stop.Name)
		return err
	}
	next, err := r.Launch(ctx)
	if err != nil {
		return err
	}
	r.current = next
	_, _, err = r.Stop(ctx, old.Workers, r.setup.stop.Name)
	return errors.Join(err, r.Await(ctx, next))
}

// TestKernelOwnWorkers compares the witness with the journals of our own workers, connection by
// connection, for every way to stop the workers. It compares what was read and answered, by which
// worker, and how the connection ended.
func TestKernelOwnWorkers(t *testing.T) {
	if inLabs(t) {
		return
	}
	linkUp(t)
	root := os.Getenv(inLab) == "root"
	all := setups(root)
	kinds, total := map[string]int{}, 0
	for i, s := range all {
		t.Run(s.String(), func(t *testing.T) {
			first := *connections * i / len(all)
			n := *connections*(i+1)/len(all) - first
			total += agree(t, s, first, n, kinds)
		})
	}
	t.Logf("%d connections that a witness and a journal know", total)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.Logf("%6d  %s", kinds[kind], kind)
	}
}

// agree makes n connections, numbered from first, to workers that are restarted at the same time.
// It returns the number of connections that were compared, and counts them in kinds.
func agree(t *testing.T, s setup, first, n int, kinds map[string]int) int {
	r := newRig(t, s)
	w, err := Start(Options{
		Do: do, Port: r.target.Port(), Families: []int{unix.AF_INET},
		Connections: n, Rate: 10_000, Types: kernelTypes,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.start()
	cs := &clients{target: r.target, habits: habits, first: first, timeout: 5 * time.Second}
	restarts := max(2, n/50)
	failed := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for range restarts {
			select {
			case <-stop:
				failed <- nil
				return
			case <-time.After(20 * time.Millisecond):
			}
			if err := r.restart(); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	cs.run(n, 24, uint64(first))
	close(stop)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.End(t.Context(), 200*time.Millisecond), r.Close()); err != nil {
		t.Fatal(err)
	}
	seen, err := w.Stop()
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{rig: r, clients: cs.all, kinds: kinds, ahead: map[*servers.Worker]int{}}
	j.judge(seen)
	if seen.Lost > 0 {
		t.Errorf("%d ends found no room", seen.Lost)
	}
	for _, e := range seen.Equations() {
		// Clients are in the same namespace as servers. If a client resets a connection whose
		// answer it has not read, the kernel counts that as a close with unread data (__tcp_close
		// in net/ipv4/tcp.c). And without a trace, it is unknown whether a server's close came
		// before or after a reset.
		most := int64(0)
		if e.Name == "TcpExtTCPAbortOnClose" {
			most = j.resets
		}
		if d := e.Residual(); d < 0 || d > most {
			t.Errorf("%s: kernel %d, witness %d", e.Name, e.Kernel, e.Seen)
		}
	}
	for i, d := range j.disagreements {
		if i == 10 {
			t.Errorf("and %d more", len(j.disagreements)-i)
			break
		}
		t.Error(d)
	}
	return j.compared
}

// A judge compares the witness with journals and clients.
type judge struct {
	*rig
	clients  []*client
	kinds    map[string]int
	compared int
	// resets counts connections that the client reset while both ends had unread data, so that
	// either end may have been closed with unread data.
	resets int64
	// ahead counts, for each worker, the connections for which the worker died after it had done
	// something and before it recorded that.
	ahead         map[*servers.Worker]int
	disagreements []string
}

func (j *judge) disagree(e *SocketEnd, a *account, c *client, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if a != nil {
		what += fmt.Sprintf("\n\tjournal: PID %d, %+v", a.worker.PID(), *a)
	}
	if e != nil {
		what += fmt.Sprintf("\n\twitness: %+v", *e)
	}
	if c != nil {
		what += fmt.Sprintf("\n\tclient: %+v", *c)
	}
	j.disagreements = append(j.disagreements, what)
}

func (j *judge) judge(seen *Account) {
	byClient := map[netip.AddrPort]*SocketEnd{}
	anonymous := 0
	for i := range seen.Ends {
		e := &seen.Ends[i]
		if !e.Known.Has(KnowsClient) {
			anonymous++
			continue
		}
		// If two CPUs receive segments of the same handshake, each makes a socket, and one of the
		// two is discarded (inet_csk_complete_hashdance in net/ipv4/inet_connection_sock.c).
		surplus := func(e *SocketEnd) bool {
			return e.Way == NotEstablished || e.Way == UnknownWay && !e.Known.Has(KnowsAccepted)
		}
		other := byClient[e.Client]
		if other != nil && surplus(e) {
			continue
		}
		if other != nil && !surplus(other) {
			j.disagree(e, nil, nil, "seen twice")
		}
		byClient[e.Client] = e
	}
	unseen := 0
	for _, c := range j.clients {
		e, accounts := byClient[c.from], j.accounts[c.from]
		delete(byClient, c.from)
		delete(j.accounts, c.from)
		switch {
		case len(accounts) > 1:
			j.disagree(e, accounts[0], c, "accepted %d times", len(accounts))
		case e == nil && len(accounts) == 1:
			if accounts[0].end == journal.EndAborted {
				unseen++
				continue
			}
			j.disagree(e, accounts[0], c, "accepted, and not seen")
		case e == nil:
			if c.connected || c.wasReset() {
				unseen++
			}
		default:
			j.compared++
			if seen.Untraced != "" {
				e.Complete(ClientEnd{Sent: uint64(c.sent), Reset: c.reset})
			}
			var a *account
			if len(accounts) == 1 {
				a = accounts[0]
			}
			j.compare(e, a, c)
		}
	}
	for _, e := range byClient {
		j.disagree(e, nil, nil, "of no client")
	}
	for from, accounts := range j.accounts {
		j.disagree(nil, accounts[0], nil, "journal of no client: %v", from)
	}
	threads, kills := 1, 0
	if j.setup.kind == vocabulary.ServerHTTP {
		threads = runtime.NumCPU()
	}
	for _, w := range j.Workers() {
		if killed(w) {
			kills++
		}
	}
	for w, n := range j.ahead {
		j.kinds["done, and not noted by a worker that was killed"] += n
		if w == nil && n <= kills*threads || w != nil && killed(w) && n <= threads {
			continue
		}
		j.disagreements = append(j.disagreements, fmt.Sprintf(
			"worker %+v did not note what it had done on %d connections; %d were killed",
			w, n, kills))
	}
	if anonymous > unseen {
		j.disagreements = append(j.disagreements,
			fmt.Sprintf("%d anonymous ends, %d connections without one", anonymous, unseen))
	}
	j.kinds["anonymous"] += anonymous
	j.kinds["connected, without an end"] += unseen
}

// killed reports whether the worker was killed.
func killed(w *servers.Worker) bool { return w.Closing().Mode == vocabulary.StopKill }

// compare compares the records of one connection.
func (j *judge) compare(e *SocketEnd, a *account, c *client) {
	kind := "never accepted: " + e.Way.String()
	if a != nil {
		kind = fmt.Sprintf("%-12s %s", endNames[a.end], e.Way)
		if e.Signal != 0 {
			kind += ", " + unix.SignalName(e.Signal)
		}
	}
	j.kinds[kind]++
	if c.reset && (e.Sent > 0 || e.Unread > 0) {
		j.resets++
	}
	j.compareTimes(e, a, c)

	if e.Known.Has(KnowsAccepted) && e.Accepted != (a != nil) {
		w := j.worker(e.Closer)
		switch {
		case j.passed(e):
		case e.Accepted && e.Signal == unix.SIGKILL && w != nil:
			j.ahead[w]++
		case e.Accepted && !e.Known.Has(KnowsCloser) && j.setup.stop.Name == vocabulary.StopKill:
			j.ahead[nil]++ // the worker is unknown
		default:
			j.disagree(e, a, c, "accepted: witness %v, journal %v", e.Accepted, a != nil)
		}
	}
	if e.Received > uint64(c.sent) || uint64(c.got) > e.Sent {
		j.disagree(e, a, c, "bytes")
	}
	if a == nil {
		return
	}
	read := 0
	for _, end := range c.requests {
		if e.Read() >= uint64(end) {
			read++
		}
	}
	n := len(a.answered)
	answers := j.answers(a, n)
	died := a.end == 0
	answeredLast := a.end == journal.EndServed && answers[len(answers)-1] == e.Sent
	ahead := false
	switch {
	case read == len(a.requested):
	case read > len(a.requested) && died:
		ahead = true
	case read > len(a.requested) && answeredLast:
		// The worker had read two requests at once, and closed the connection after answering the
		// first.
	default:
		j.disagree(e, a, c, "requests: %d by witness, %d by journal", read, len(a.requested))
	}
	switch {
	case slices.Contains(answers, e.Sent):
	case died && slices.Contains(j.answers(a, n+1), e.Sent):
		ahead = true
	default:
		j.disagree(e, a, c, "answers: %d bytes by witness, %v by journal", e.Sent, answers)
	}
	if e.Known.Has(KnowsReader) {
		if e.Read() > 0 && e.Reader != a.worker.PID() {
			j.disagree(e, a, c, "read by another")
		}
	}
	if e.Known.Has(KnowsCloser) && e.Closer != a.worker.PID() {
		if !j.byOther(e) {
			j.disagree(e, a, c, "closed by another")
		}
		j.kinds["closed last by another process that had it"]++
	}
	if ahead || e.Known.Has(KnowsCloser) && died && e.Signal == 0 { // the worker had closed it
		j.ahead[a.worker]++
	}
	if e.Known.Has(KnowsWay) && !slices.Contains(ways[a.end], e.Way) {
		reset := e.Way == ResetByPeer && (a.end == journal.EndServed && c.reset ||
			// The client had closed before this answer arrived, so its kernel reset the connection.
			a.end == journal.EndPeer && e.Sent == uint64(len(badRequest)))
		if !reset {
			j.disagree(e, a, c, "end")
		}
	}
}

// worker returns the worker with a PID, or nil.
func (j *judge) worker(pid int) *servers.Worker {
	all := j.Workers()
	if i := slices.IndexFunc(all, func(w *servers.Worker) bool { return w.PID() == pid }); i >= 0 {
		return all[i]
	}
	return nil
}

// passed reports whether a connection that is in no journal ended on its way from an acceptor to a
// worker. Either its descriptor was in a message to a worker that was killed, or the client had
// reset it, so that the worker closed it at once (channelSource in servers/worker/source.go).
func (j *judge) passed(e *SocketEnd) bool {
	if !j.setup.accept.Row().Passes || e.Read() > 0 || e.Sent > 0 {
		return false
	}
	return !e.Known.Has(KnowsCloser) || e.Signal == unix.SIGKILL || e.Way == ResetByPeer
}

// byOther reports whether the connection may have been closed last by a process other than its
// worker: the acceptor, which passed the connection on, or a process that the worker forked. Until
// a forked process calls execve(2) or exits, it has all descriptors of the worker. os/exec also
// forks a process to try pidfds (checkClonePidfd in os/pidfd_linux.go).
func (j *judge) byOther(e *SocketEnd) bool {
	if j.setup.stop.Handover == vocabulary.Tableflip {
		return true
	}
	w := j.worker(e.Closer)
	return w != nil && w.Acceptor
}

// compareTimes compares the instants in a trace with those in a journal. A worker reads the clock
// after it has accepted, read or closed. clockSlack is the maximum difference between the two
// clocks.
func (j *judge) compareTimes(e *SocketEnd, a *account, c *client) {
	if !e.Known.Has(KnowsTimes|KnowsReader|KnowsCloser) || a == nil {
		return
	}
	const clockSlack = 20 * time.Microsecond
	if e.Born > a.accepted.Add(clockSlack) {
		j.disagree(e, a, c, "born after it was accepted")
	}
	if len(a.requested) > 0 && e.FirstRead > a.requested[0].Add(clockSlack) {
		j.disagree(e, a, c, "read after its request was")
	}
	if a.end != 0 && e.Closed > a.ended.Add(clockSlack) && !j.byOther(e) {
		j.disagree(e, a, c, "closed after the worker had closed it")
	}
	if e.FirstRead != 0 && e.FirstRead < e.Born || e.Closed < e.Born || e.Ended < e.Born {
		j.disagree(e, a, c, "out of order")
	}
}

// badRequest is the response that net/http sends by itself to a request that ends early (conn.serve
// in server.go).
const badRequest = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Connection: close\r\n\r\n400 Bad Request"

// answers returns the possible total numbers of bytes that a worker sent with n answers on a
// connection.
func (j *judge) answers(a *account, n int) []uint64 {
	length := func(closing wire.Closing) uint64 {
		w := a.worker
		l := len(wire.AppendResponse(nil, w.ID, w.Generation, closing))
		if j.setup.kind == vocabulary.ServerHTTP {
			l += len("Date: Mon, 30 Nov 2026 12:00:00 GMT\r\n")
			l += len("Content-Type: text/plain; charset=utf-8\r\n")
		}
		return uint64(l)
	}
	keep, last := length(wire.KeepAlive), length(wire.Close)
	if n := uint64(n); n > 0 {
		return []uint64{n * keep, (n-1)*keep + last}
	}
	if j.setup.kind == vocabulary.ServerHTTP && len(a.requested) == 0 {
		return []uint64{0, uint64(len(badRequest))}
	}
	return []uint64{0}
}

var endNames = map[journal.End]string{
	0: "died", journal.EndServed: "served", journal.EndPeer: "peer closed",
	journal.EndPeerReset: "peer reset", journal.EndUnanswered: "unanswered",
	journal.EndAborted: "aborted", journal.EndWriteError: "write error",
	journal.EndUnhandled: "unhandled",
}

// ways lists, for each way in which a worker can record the end of a connection, the ways that the
// witness may report.
var ways = map[journal.End][]Way{
	0:                     {Closed, ClosedUnread, ResetByPeer},
	journal.EndServed:     {Closed, ClosedUnread, ShutDown},
	journal.EndPeer:       {Closed, ShutDown},
	journal.EndPeerReset:  {ResetByPeer},
	journal.EndUnanswered: {Closed, ClosedUnread, ResetByPeer}, // the client's reset may come first
	journal.EndAborted:    {Aborted},
	journal.EndWriteError: {ResetByPeer},
	journal.EndUnhandled:  {Closed, ClosedUnread, ShutDown, ResetByPeer},
}
