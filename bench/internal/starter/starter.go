// Package starter writes a user's first scenario. It derives the settings from answers about the
// user's program: its kind, the number of its workers, the way it is restarted, and its load.
package starter

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// A Program is a kind of server program, with the settings that represent it in a scenario.
type Program struct {
	Name string // its name on the command line
	Is   string // completes "my program is"
	Kind vocabulary.ServerKind
	// Accept is the way in which the program's workers get connections. "" means the default of
	// Kind.
	Accept vocabulary.AcceptMode
	Burns  bool // whether the work of a request uses a CPU; otherwise it waits
	Serial bool // whether a worker serves only one request at a time
	// Matters says under which circumstances the way the workers listen makes a difference.
	Matters string
}

// Programs returns the kinds of program, the most common first.
func Programs() []Program {
	return []Program{
		{Name: "go", Kind: vocabulary.ServerHTTP,
			Is: "a Go service whose handlers mostly wait: for a database, other services, a disk",
			Matters: "Only in a restart. Each connection gets a goroutine at once, so none waits " +
				"for a busy worker."},
		{Name: "go-cpu", Kind: vocabulary.ServerHTTP, Burns: true,
			Is: "a Go service whose handlers compute",
			Matters: "In a restart, and when all CPUs are busy. With fewer CPUs than workers, " +
				"the competition for CPUs hides how the workers listen."},
		{Name: "event-loop", Kind: vocabulary.ServerLoop, Serial: true,
			Is: "an event loop in each process or thread: nginx, HAProxy, Envoy, Redis, Node.js",
			Matters: "In a restart, and under load: while a loop is busy, the connections in its " +
				"queue wait. If each worker has its own socket, a connection may wait although " +
				"another worker is idle."},
		{Name: "prefork", Kind: vocabulary.ServerLoop, Accept: vocabulary.AcceptBlocking,
			Serial: true,
			Is: "a set of processes, each serving one client at a time: PHP-FPM, Gunicorn sync, " +
				"uWSGI, Unicorn",
			Matters: "In a restart, and under any load: a slow request keeps a worker's whole " +
				"queue waiting, so one queue for all workers is the usual choice."},
		{Name: "node-cluster", Kind: vocabulary.ServerLoop, Accept: vocabulary.AcceptAcceptorAck,
			Serial: true,
			Is:     "Node.js with its cluster module, where the primary accepts for all",
			Matters: "Never: there is one queue, the primary's. What matters is whether a " +
				"stuck worker still gets connections."},
	}
}

// A Restart is a way in which users currently replace their program.
type Restart struct {
	Name    string // its name on the command line
	Is      string // completes "today: "
	Sockets vocabulary.Sockets
	// Loop and HTTP are the stop modes for workers of kind loop and of kind http. "" means that
	// workers are not restarted.
	Loop, HTTP vocabulary.StopMode
	Path       vocabulary.Path // the way in which clients reach the workers
}

// Restarts returns the ways to restart a program, including not restarting it at all.
func Restarts() []Restart {
	const direct = vocabulary.PathDirect
	same := func(name, is string, sockets vocabulary.Sockets, stop vocabulary.StopMode) Restart {
		return Restart{name, is, sockets, stop, stop, direct}
	}
	return []Restart{
		{"reuseport", "new workers bind the port, too (SO_REUSEPORT), then the old ones close it",
			vocabulary.SocketsReuseport, vocabulary.StopClose, vocabulary.StopShutdown, direct},
		same("stop-start", "the old process stops, then the new one starts (systemctl restart)",
			vocabulary.SocketsExclusive, vocabulary.StopBindAfterClose),
		same("systemd", "systemd holds the socket (socket activation)",
			vocabulary.SocketsShared, vocabulary.StopInherit),
		same("handoff", "the new process asks the old one for the socket (HAProxy -x, Envoy)",
			vocabulary.SocketsShared, vocabulary.StopHandoff),
		{"upgrade", "the old process starts the new one, which inherits the socket (tableflip, " +
			"nginx USR2)",
			vocabulary.SocketsShared, vocabulary.StopHandoff, vocabulary.StopTableflip, direct},
		same("kill", "it is killed, or crashes",
			vocabulary.SocketsReuseport, vocabulary.StopKill),
		{"load-balancer", "HAProxy in front is told to send it nothing, then it restarts",
			vocabulary.SocketsExclusive, vocabulary.StopLBDrain, vocabulary.StopLBDrain,
			vocabulary.PathHAProxy},
		{"kubernetes", "a rolling update of a Deployment behind a Service",
			vocabulary.SocketsReuseport, vocabulary.StopClose, vocabulary.StopShutdown,
			vocabulary.PathService},
		{"none", "not at all: the question is who serves, and how long it takes",
			vocabulary.SocketsShared, "", "", direct},
	}
}

// Answers are the user's answers from which a first scenario is made.
type Answers struct {
	Program string        // the name of one of Programs
	Workers int           // number of workers, 1 to MaxWorkers
	Restart string        // the name of one of Restarts
	Rate    float64       // new connections a second, 1 to MaxRate
	Work    time.Duration // duration of one request, up to MaxWork
}

// Bounds of the answers.
const (
	MaxWorkers = 64
	MaxRate    = 10_000
	MaxWork    = time.Second
)

// mostBusy is the maximum share of the time in which workers may be busy, if each serves one
// request at a time or each request uses a CPU. Above this share, queues grow as long as the load
// lasts.
const mostBusy = 0.9

// Defaults returns the answers to questions that the user does not answer.
func Defaults() Answers {
	return Answers{Program: "go", Workers: 2, Restart: "reuseport", Rate: 400,
		Work: 2 * time.Millisecond}
}

// Columns is the maximum width of a scenario file, in columns.
const Columns = 100

// Scenario returns the text of a scenario file with the given name. It fails if an answer is out of
// range or the answers contradict each other.
func (a Answers) Scenario(name string) (string, error) {
	program, restart, err := a.rows()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := scenarioTemplate().Execute(&b, newView(name, a, program, restart)); err != nil {
		return "", fmt.Errorf("scenario %s: %w", name, err)
	}
	return wrapComments(b.String()), nil
}

// wrapComments wraps comments that are wider than Columns.
func wrapComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		body := strings.TrimLeft(line, " #")
		prefix := strings.TrimSuffix(line, body)
		if utf8.RuneCountInString(line) <= Columns+1 || !strings.Contains(prefix, "#") {
			b.WriteString(line)
			continue
		}
		written := utf8.RuneCountInString(prefix)
		b.WriteString(prefix)
		for i, word := range strings.Fields(body) {
			if i > 0 && written+1+utf8.RuneCountInString(word) > Columns {
				b.WriteString("\n" + prefix)
				written = utf8.RuneCountInString(prefix)
			} else if i > 0 {
				b.WriteString(" ")
				written++
			}
			b.WriteString(word)
			written += utf8.RuneCountInString(word)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// rows returns the elements of Programs and Restarts that the answers name.
func (a Answers) rows() (p Program, r Restart, err error) {
	i := slices.IndexFunc(Programs(), func(p Program) bool { return p.Name == a.Program })
	k := slices.IndexFunc(Restarts(), func(r Restart) bool { return r.Name == a.Restart })
	switch {
	case i < 0:
		return p, r, fmt.Errorf("no kind of program is called %q", a.Program)
	case k < 0:
		return p, r, fmt.Errorf("no way to restart is called %q", a.Restart)
	case a.Workers < 1 || a.Workers > MaxWorkers:
		return p, r, fmt.Errorf("%d workers: must be 1 to %d", a.Workers, MaxWorkers)
	case !(a.Rate >= 1 && a.Rate <= MaxRate):
		return p, r, fmt.Errorf("a rate of %g/s: must be 1/s to %d/s", a.Rate, MaxRate)
	case a.Work <= 0 || a.Work > MaxWork:
		return p, r, fmt.Errorf("work of %v: must be more than 0, and at most %v", a.Work, MaxWork)
	}
	p, r = Programs()[i], Restarts()[k]
	switch {
	case p.Accept == vocabulary.AcceptAcceptorAck && r.Loop != "":
		return p, r, errors.New("workers behind an acceptor cannot be replaced one generation by " +
			"another; leave the restart out (none)")
	case (p.Serial || p.Burns) && a.Busy() > mostBusy*float64(a.workers(r)):
		return p, r, a.tooBusy(r)
	}
	return p, r, nil
}

// Busy returns the average number of requests in progress.
func (a Answers) Busy() float64 { return a.Rate * a.Work.Seconds() }

// tooBusy returns the error for a rate that the workers cannot serve. If there is a rate or a
// number of workers that would suit the other answers, the error names it.
func (a Answers) tooBusy(r Restart) error {
	most := float64(a.workers(r)) / a.Work.Seconds()
	var remedies []string
	if rate := math.Floor(mostBusy * most); rate >= 1 {
		remedies = append(remedies, fmt.Sprintf("use at most %.0f/s", rate))
	}
	more := a
	more.Workers = int(math.Ceil(a.Busy() / mostBusy))
	if more.Workers <= MaxWorkers && more.workers(r) == more.Workers {
		remedies = append(remedies, fmt.Sprintf("at least %d workers", more.Workers))
	}
	remedies = append(remedies, "shorter work")
	return fmt.Errorf("%g/s keeps the workers busier than %.0f %%: at %v a request they serve "+
		"%.4g/s at most; %s", a.Rate, 100*mostBusy, a.Work, most, strings.Join(remedies, ", or "))
}

// workers returns the number of workers that serve at the same time. That is one if the socket is
// exclusive and there is no proxy in front.
func (a Answers) workers(r Restart) int {
	if r.Sockets == vocabulary.SocketsExclusive && r.Path == vocabulary.PathDirect {
		return 1
	}
	return a.Workers
}

// A variant is one way to listen and to stop.
type variant struct {
	Sockets vocabulary.Sockets
	Stop    vocabulary.StopMode
}

// A view holds the data for the template of a scenario file.
type view struct {
	Name     string
	Answers  Answers
	Program  Program
	Restart  Restart
	Today    variant
	Others   []variant // the variants to compare with Today
	Serve    int       // number of workers that serve at the same time
	Every    string    // the time between restarts
	Duration string
	Timeout  string
	Work     string
}

func newView(name string, a Answers, p Program, r Restart) *view {
	v := &view{Name: name, Answers: a, Program: p, Restart: r, Serve: a.workers(r)}
	stop := func(loop, http vocabulary.StopMode) vocabulary.StopMode {
		if p.Kind == vocabulary.ServerHTTP {
			return http
		}
		return loop
	}
	v.Today = variant{r.Sockets, stop(r.Loop, r.HTTP)}
	reuseport, shared := vocabulary.SocketsReuseport, vocabulary.SocketsShared
	others := []variant{
		{reuseport, stop(vocabulary.StopClose, vocabulary.StopShutdown)},
		{reuseport, vocabulary.StopDrain}, {shared, vocabulary.StopInherit},
	}
	if r.Path == vocabulary.PathHAProxy {
		others = []variant{
			{vocabulary.SocketsExclusive, vocabulary.StopBindAfterClose},
			{reuseport, vocabulary.StopDrain},
		}
	}
	for _, other := range others {
		if other != v.Today {
			v.Others = append(v.Others, other)
		}
	}
	every := roundUp(max(200*time.Millisecond, 4*a.Work), 100*time.Millisecond)
	duration := 300*time.Millisecond + 8*every
	switch {
	case r.Name == "none":
		duration = max(1500*time.Millisecond, roundUp(100*a.Work, time.Second))
	case r.Path == vocabulary.PathHAProxy:
		every = max(4*time.Second, time.Duration(a.Workers)*2*time.Second)
		duration = time.Second + 2*every
	case r.Path == vocabulary.PathService:
		each := roundUp(time.Second+2*a.Work, 100*time.Millisecond)
		duration = 3*time.Second + time.Duration(a.Workers)*each
	}
	v.Every, v.Duration = text(every), text(duration)
	v.Timeout, v.Work = text(max(900*time.Millisecond, 10*a.Work)), text(a.Work)
	return v
}

func text(d time.Duration) string { return strictyaml.FormatDuration(d) }

func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1) / unit * unit }

// Uses returns the key of server.work for the program: "burn" or "sleep".
func (v *view) Uses() string {
	if v.Program.Burns {
		return "burn"
	}
	return "sleep"
}

// Load describes the load in terms of the workers, such as the share of time in which they are
// busy.
func (v *view) Load() string {
	busy := v.Answers.Busy()
	switch {
	case v.Program.Burns:
		return fmt.Sprintf("uses %.2g CPUs", busy)
	case v.Program.Serial:
		return fmt.Sprintf("keeps %.2g of %s busy", busy, unit.Plural(v.Serve, "worker"))
	}
	return fmt.Sprintf("is %.2g requests at a time", busy)
}

// A gate is an expectation that should hold for the user's program.
type gate struct {
	Why    string // a sentence with the reason why it holds
	When   string // the labels of the variants, as in a scenario file
	Expect string
}

// Gate returns an example of a gate. The gate applies to variants that cannot lose the connections
// that it counts. The user's current way to restart is among them only if it cannot lose these.
func (v *view) Gate() gate {
	const none = "lost_by_cause.reset_at_close == 0"
	switch {
	case v.Restart.Name == "none":
		return gate{"Nothing is closed here, so nothing can be reset.", "{}", none}
	case v.Restart.Path == vocabulary.PathService:
		return gate{"After a preStop delay no connection is sent to the pod that closes.",
			"{kube.pre_stop: 1s}", none}
	case v.Restart.Path == vocabulary.PathHAProxy:
		return gate{"HAProxy sends nothing to a worker that closes.", "{stop: lb-drain}", none}
	}
	return gate{"A shared socket stays open, so nothing in its queue can be reset.",
		"{sockets: shared}", none}
}

// Blocks returns the lines of the matrix, one for each way to listen.
func (v *view) Blocks() (lines []string) {
	for _, sockets := range []vocabulary.Sockets{
		vocabulary.SocketsExclusive, vocabulary.SocketsReuseport, vocabulary.SocketsShared,
	} {
		var stops []vocabulary.StopMode
		for _, one := range v.variants() {
			if one.Sockets == sockets {
				stops = append(stops, one.Stop)
			}
		}
		workers := ""
		if sockets == vocabulary.SocketsExclusive && v.Restart.Path == vocabulary.PathDirect {
			workers = "workers: [1], "
		}
		if len(stops) > 0 {
			lines = append(lines, fmt.Sprintf("{sockets: [%s], %sstop: [%s]}",
				sockets, workers, vocabulary.Join(stops, ", ")))
		}
	}
	return lines
}

func (v *view) variants() []variant { return append([]variant{v.Today}, v.Others...) }

// Stops returns the stop modes to compare, each once, with a description.
func (v *view) Stops() (all []string) {
	add := func(m vocabulary.StopMode) {
		line := fmt.Sprintf("%s: %s.", m, m.Row().Doc)
		if !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	if v.Restart.Path == vocabulary.PathService {
		add(v.Today.Stop)
		add(vocabulary.StopDrain)
		return all
	}
	for _, one := range v.variants() {
		add(one.Stop)
	}
	return all
}

// Markdown returns the table of programs for the documents.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| my program is | settings | when it matters how the workers listen |\n" +
		"|---|---|---|\n")
	for _, p := range Programs() {
		fmt.Fprintf(&b, "| %s (`init --kind %s`) | %s | %s |\n",
			p.Is, p.Name, p.settings(), p.Matters)
	}
	return b.String()
}

// settings returns the settings that stand for the program, as Markdown.
func (p Program) settings() string {
	work := "{sleep: 2ms}"
	if p.Burns {
		work = "{burn: 2ms}"
	}
	settings := fmt.Sprintf("`server: {kind: %s, work: %s}`", p.Kind, work)
	if p.Accept != "" {
		settings += fmt.Sprintf(", `accept: %s`", p.Accept)
	}
	return settings
}

// scenarioTemplate returns the template of a scenario file.
func scenarioTemplate() *template.Template {
	return template.Must(template.New("scenario").Parse(scenarioText))
}
