// Reuseport-bench measures how processes that share a listening socket compare with processes that
// each have their own, and what it costs to replace them under load.
//
// Usage: reuseport-bench COMMAND; 'reuseport-bench help' lists the commands. Results go to standard
// output; progress and messages go to standard error.
//
// 'reuseport-bench explain 0 1 2 3 130' says what the exit statuses mean.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/bench/internal/foreign"
	"reuseport-bench/bench/internal/kubernetes"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/relay"
	"reuseport-bench/bench/internal/trial"
	"reuseport-bench/results/report/document"
	"reuseport-bench/servers/worker"
)

const interruptMessage = "interrupted; every process that it started has ended"

// exitError is an error with its exit status. A nil err means that the error was already reported.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitUsage, err}
}

func notMeasured(err error) error { return &exitError{exitNotMeasured, err} }

func main() {
	if len(os.Args) > 1 {
		if role, ok := childRoles[os.Args[1]]; ok {
			if err := role(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(exitFailed)
			}
			os.Exit(0)
		}
	}
	// Debian has nft in a directory that is not in an ordinary user's PATH.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		fmt.Fprintln(os.Stderr, "reuseport-bench:", err)
		os.Exit(exitUsage)
	}
	// A lab's thread changes its namespaces and ends with its goroutine. The main thread cannot end
	// that way, so no other goroutine may run on it.
	runtime.LockOSThread()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// A session holds the facts about this process that the commands need.
type session struct {
	*interrupter
	width    int        // columns of text on standard output
	terminal bool       // standard output is a terminal
	colour   colourMode // the value of --color
}

// run runs the program, except for the child roles, and returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	out := &output{w: stdout}
	s := &session{
		interrupter: newInterrupter(),
		width:       textWidth(stdout), terminal: isTerminal(stdout), colour: colourAuto,
	}
	root := newRoot(s, out, stderr)
	root.SetArgs(args)
	err := cmp.Or(root.Execute(), out.err)
	status := exitUsage
	var exit *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted):
		status, err = exitInterrupted, errors.New(interruptMessage)
	case errors.As(err, &exit):
		status = exit.status
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, "reuseport-bench:", document.Clean(text))
	}
	return status
}

// The hidden child roles, in which the program starts itself.
const (
	roleInit   = "lab-init"
	roleWorker = "worker"
	roleLoad   = "load"
	roleRelay  = "relay"
	roleAgent  = "server-agent"
	roleFloor  = "load-floor"
	roleProbe  = "probe-namespace"

	roleSupervise = "kube-supervisor"
	roleSweep     = "kube-sweeper"
	rolePause     = "kube-pause"
	roleHold      = "kube-hold"
)

var childRoles = map[string]func() error{
	roleInit:   netlab.Init,
	roleWorker: worker.Main,
	roleLoad:   load.Main,
	roleRelay:  relay.Main,
	roleAgent:  foreign.AgentMain,
	roleFloor:  load.FloorMain,
	roleProbe: func() error {
		return doctor.ServeNamespace(context.Background(), os.Stdin, os.Stdout)
	},

	roleSupervise: kubernetes.Supervise,
	roleSweep:     kubernetes.SweepMain,
	rolePause:     kubernetes.PauseMain,
	roleHold:      worker.HoldMain,
}

// self returns a function that makes a command to run this binary in a child role. A child role
// needs only one thread, so its Go scheduler has one P: a second P would only wake up to look for
// work. Asynchronous preemption is off, so that the runtime does not interrupt the only running
// goroutine with signals. A net/http worker sets its own number of Ps.
func self(role string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", role)
		cmd.Args[0] = os.Args[0]
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
		return cmd
	}
}

func roles() trial.Roles {
	return trial.Roles{
		Init: self(roleInit), Worker: self(roleWorker), Load: self(roleLoad),
		Relay: self(roleRelay), Agent: self(roleAgent),
		Supervise: self(roleSupervise), Sweep: self(roleSweep), Pause: rolePause,
		Hold: roleHold,
	}
}

func newRoot(s *session, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "reuseport-bench",
		Short: "One shared listening socket, or one SO_REUSEPORT socket each? Measured here.",
		Long: `reuseport-bench starts real listener processes in a private network and sends them requests at a
fixed rate. Meanwhile it replaces, kills and stalls them. It reports latency, dropped connections and
gaps: each lost connection with its cause, each figure with its interval.

No command needs root. Without root everything runs inside a user namespace; 'doctor' says what this
machine can do. 'list' has the questions that it answers, and 'init' writes one of your own.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.Args = cobra.ArbitraryArgs
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(c, args[0])
		}
		return c.Help()
	}
	root.PersistentPreRunE = noEmpty
	root.PersistentFlags().Var(&s.colour, "color",
		"colour verdicts: auto (on a terminal, unless NO_COLOR is set), always or never")
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelp())
	root.AddCommand(newRun(s), newList(s), newShow(s), newInit(s), newSchema(), newReport(s),
		newCompare(s), newClaims(s), newExplain(s), newDoctor(s), newVersion(), newBenchEngine(s))
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			adaptCompletion(c)
		}
	}
	return root
}
