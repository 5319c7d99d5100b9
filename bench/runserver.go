package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/starter"
	"reuseport-bench/results/command"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios"
)

// serverFlags are the flags of the command run that describe a third-party server, so that the user
// needs no scenario file.
type serverFlags struct {
	starter.Server
	rate  string
	every time.Duration
	// connections is the value of --connections; "" measures new and kept connections.
	connections string
	perSecond   float64 // the load's rate; 0: not known yet
	file        string  // the path of the scenario in the run directory; "": not known yet
}

func (f *serverFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.Start, "server", "",
		"try a server of your own without a scenario: the command that starts it here; "+
			"HOST and PORT say where it is to listen")
	flags.StringVar(&f.Restart, "restart", "", "with --server, how to restart it: a signal, a "+
		"command, or "+starter.StopStart+" (default: start the next instance, then stop the "+
		"previous one with SIGTERM)")
	flags.StringVar(&f.Ready, "ready", "",
		"with --server, the path that it answers once it is ready (default: when it listens)")
	flags.StringVar(&f.Path, "path", "", "with --server, the path to request (default: --ready, "+
		"or /)")
	flags.StringVar(&f.User, "user", "", "with --server, as root, the user under whose id it runs "+
		"(default: www-data or nobody)")
	flags.StringVar(&f.rate, "rate", "", fmt.Sprintf("with --server, requests a second (default: "+
		"half of what it answers, at most %d/s)", starter.MostRate))
	flags.DurationVar(&f.every, "every", time.Second,
		"with --server, the time from one restart to the next")
	flags.StringVar(&f.connections, "connections", "", fmt.Sprintf("with --server, new, or the "+
		"number of connections that clients keep (default: both, at most %d kept)",
		starter.MostKept))
}

// given reports whether the flag --server is set.
func (f *serverFlags) given() bool { return f.Start != "" }

// maxServerRate is the maximum of --rate, in requests per second.
const maxServerRate = 100_000

// maxKept is the maximum of --connections. Scenario files have the same maximum.
const maxKept = 10_000

// capitals matches a word that looks like the name of a signal.
var capitals = regexp.MustCompile(`^[A-Z][A-Z0-9]+$`)

// check returns an error if the value of a flag is invalid, or if the flags and arguments cannot be
// combined. It also sets f.Rate, f.Connections, f.Every and f.Directory.
func (f *serverFlags) check(c *cobra.Command, names []string) error {
	for _, name := range []string{
		"restart", "ready", "path", "user", "rate", "every", "connections",
	} {
		if c.Flags().Changed(name) && !f.given() {
			return usagef(c, "--%s goes with --server", name)
		}
	}
	if !f.given() {
		return nil
	}
	switch {
	case len(names) > 0:
		return usagef(c, "--server makes a scenario; leave out %s, or --server", quoted(names[0]))
	case strings.TrimSpace(f.Start) == "":
		return usagef(c, "--server %s: names no command", quoted(f.Start))
	case f.every <= 0:
		return usagef(c, "--every %v: must be more than 0", f.every)
	case capitals.MatchString(f.Restart) && f.Signal() == "":
		return usagef(c, "--restart %s is not a signal, such as HUP, USR2 or TERM", f.Restart)
	}
	for flag, value := range map[string]string{"ready": f.Ready, "path": f.Path} {
		if value != "" && value[0] != '/' {
			return usagef(c, "--%s %s: a path begins with /, for example /health", flag,
				quoted(value))
		}
	}
	if f.rate != "" {
		rate, err := strconv.ParseFloat(strings.TrimSuffix(f.rate, "/s"), 64)
		if err != nil || !(rate >= 1 && rate <= maxServerRate) {
			return usagef(c, "--rate %s: must be a number from 1 to %d, for example 400/s",
				quoted(f.rate), maxServerRate)
		}
		f.perSecond, f.Rate = rate, perSecond(rate)
	}
	switch n, err := strconv.Atoi(f.connections); {
	case f.connections == "":
	case f.connections != starter.NewConnections && (err != nil || n < 1 || n > maxKept):
		return usagef(c, "--connections %s: must be %s, or a number from 1 to %d",
			quoted(f.connections), starter.NewConnections, maxKept)
	default:
		f.Connections = []string{f.connections}
	}
	f.Every = f.every
	var err error
	if f.Directory, err = os.Getwd(); err != nil {
		return usage(err)
	}
	return nil
}

// scenario returns the scenario that the flags describe, parsed and as text.
func (f *serverFlags) scenario() (_ *scenarios.Scenario, text []byte, err error) {
	made, err := f.Scenario()
	if err != nil {
		return nil, nil, err
	}
	file := f.file
	if file == "" {
		file = harness.ScenarioFile
	}
	s, err := scenarios.Parse(file, []byte(made))
	return s, []byte(made), err
}

// rehearse starts and restarts the server once. It sets f.Every to --every plus the time that the
// restart took. Unless flags say so, it also chooses the load's rate, from the rate at which the
// server answered, and its connections, from the number that the server kept.
func (f *serverFlags) rehearse(
	ctx context.Context, stderr io.Writer, planned *plan.Plan, dir string,
) error {
	f.file = filepath.Join(dir, harness.ScenarioFile)
	v := planned.Scenarios[0].Variants[0]
	if v.Skipped != "" {
		return notMeasured(fmt.Errorf("--server %s: %s", quoted(f.Start),
			strings.TrimPrefix(v.Skipped, "command ")))
	}
	fmt.Fprintf(stderr, "server: %s, in %s; HOST=%v PORT=%d\n", f.Start,
		command.Quote(f.Directory), v.Servers.Address.Addr(), v.Servers.Address.Port())
	fmt.Fprintf(stderr, "restart: %s\n", f.Describe())
	r, err := harness.Rehearse(ctx, planned, v, roles(),
		harness.Tries{Path: f.Asked(), Keep: f.mostKept()})
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return notMeasured(fmt.Errorf("%w%s", err, f.hint(err)))
	}
	least := ""
	if r.AtLeast {
		least = "at least "
	}
	fmt.Fprintf(stderr, "tried once: ready after %v, %s%s requests/s, a restart takes %v\n",
		r.Start.Round(time.Millisecond), least, unit.Digits(r.PerSecond, 3),
		r.Restart.Round(time.Millisecond))
	f.Every = f.every + roundUp(r.Restart, 100*time.Millisecond)
	if f.rate == "" {
		share := starter.MostOfCapacity
		if f.connections == "" && 1 < r.Kept && r.Kept < starter.MostKept {
			share /= 2 // because half of the connections that it keeps are used
		}
		f.perSecond = math.Min(starter.MostRate, roundDown(share*r.PerSecond))
		f.Rate = perSecond(f.perSecond)
		f.Note = fmt.Sprintf("At most half of the %s%s requests/s that it answered on this "+
			"machine.", least, unit.Digits(r.PerSecond, 3))
	}
	if f.connections != starter.NewConnections {
		f.keep(r.Kept)
		fmt.Fprintln(stderr, "connections: "+f.KeptNote)
	}
	return nil
}

// mostKept returns the number of connections that Rehearse tries to keep. If the user gives the
// number, one shows whether the server keeps any.
func (f *serverFlags) mostKept() int {
	switch f.connections {
	case "":
		return starter.MostKept
	case starter.NewConnections:
		return 0
	}
	return 1
}

// keep chooses the connections of the load, and says why in f.KeptNote. kept is the number of
// connections, at most mostKept, that the server kept open at the same time. Each kept connection
// is used about once a second or more often, before a server takes it for idle and closes it.
func (f *serverFlags) keep(kept int) {
	f.Connections = []string{starter.NewConnections}
	switch {
	case kept == 0:
		f.KeptNote = "new ones only: the server keeps none after its answer"
	case f.connections != "":
		f.Connections = []string{f.connections}
		f.KeptNote = f.connections + " kept"
	case kept == 1:
		f.KeptNote = "new ones only: the server serves one at a time, so a client that keeps " +
			"it leaves none for others"
	default:
		some, why := kept, ""
		if kept < starter.MostKept {
			some, why = kept/2, fmt.Sprintf(", half of the %d that the server kept", kept)
		}
		if each := max(1, int(f.perSecond)); each < some {
			some, why = each, ", so that each is used once a second"
		}
		f.Connections = append(f.Connections, strconv.Itoa(some))
		f.KeptNote = fmt.Sprintf("new ones, and %d kept%s", some, why)
	}
}

func roundUp(d, to time.Duration) time.Duration { return (d + to - 1) / to * to }

// roundDown rounds a rate down to two significant digits. It returns at least 1.
func roundDown(rate float64) float64 {
	if rate < 1 {
		return 1
	}
	if rate < 10 {
		return math.Floor(rate*10) / 10
	}
	digit := math.Pow(10, math.Floor(math.Log10(rate))-1)
	return math.Floor(rate/digit) * digit
}

// hint returns the end of the error message about a failed rehearsal: advice on what the user can
// do.
func (f *serverFlags) hint(err error) string {
	var unserved *harness.UnservedError
	switch {
	case errors.As(err, &unserved):
		return "\nName a path that it serves with --path."
	case f.Restart == "" && strings.HasPrefix(err.Error(), harness.RestartFailed):
		return "\nThe next instance must be able to listen while the previous one does " +
			"(SO_REUSEPORT). If it cannot, try --restart " + starter.StopStart + ", or a signal " +
			"or a command by which the server restarts itself."
	}
	return ""
}
