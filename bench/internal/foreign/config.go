package foreign

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
)

// Config describes a server. Its strings may contain variables: see Variables.
type Config struct {
	// Start starts the server.
	Start Command
	// Forks is true if Start exits with status 0 once the server runs in the background.
	Forks bool
	// PIDFile is a file that holds the PID of the main process, relative to the working directory.
	// Empty: the main process is the process of Start itself or, with Forks, the only process of
	// the server whose parent does not belong to the server.
	PIDFile string
	// Directory is the working directory, relative to Base. Empty: the home directory.
	Directory string
	// Base is the directory at which relative paths of copied files and of Directory start.
	// Relative paths of programs are looked up in the working directory first, and then in Base.
	Base string
	// Files are written to the home directory before the start, and again before each restart.
	Files []File
	// Env are environment variables. They may replace the variables that every command gets: PATH,
	// LANG, HOME, TMPDIR, USER, LOGNAME, HOST, PORT, WORKERS and GENERATION. No other variable is
	// inherited.
	Env map[string]string
	// Vars are the values of the variables {{vars.NAME}}.
	Vars    map[string]string
	Address netip.AddrPort // where the server should listen
	// Generation is the value of {{generation}} at the start. Default 1.
	Generation int
	Workers    int // {{workers}}; with SocketsReuseport also the number of sockets
	// Sockets says which listening sockets this program opens and passes to every start as
	// LISTEN_FDS (sd_listen_fds(3)): SocketsShared one, SocketsReuseport one for each worker.
	// Empty: the server opens its own sockets.
	Sockets vocabulary.Sockets
	Backlog int // of the sockets that this program opens; default 4096
	Ready   Ready
	Stop    Stop
	// RestartWithin is the maximum time from the last action of a restart until the restart is
	// over. Default 10 s.
	RestartWithin time.Duration
	Identify      Identify
	// User is the name of the user that the server runs as. If it is empty, the server runs as
	// www-data or, if there is no such user, as nobody. An ordinary user has only one user id. In
	// that case, the server runs in its own user namespace, which maps the id to User. With "root",
	// the server is root in the lab's user namespace.
	User string
	// Probe is the source address of the requests that find out whether the server is ready. If it
	// is the zero value, the kernel chooses the address.
	Probe  netip.Addr
	Limits Limits
}

// A Command is a line or a list of words, not both. First, variables are replaced by their values.
// A line is then split into words by a shell's rules for quotes, and $NAME is replaced by the
// server's environment variable NAME. But no shell runs the line.
type Command struct {
	Line string
	List []string
}

// A File is written to the home directory.
type File struct {
	Name string // relative to the home directory; a name that ends in "/" makes a directory
	Text string // a template
	Copy string // the path of a file that is copied as it is, instead of Text
}

// Ready is the condition under which the server is ready. At most one of HTTP, Listening, Notify,
// Stdout and Run is set; if none is set, Listening applies.
type Ready struct {
	HTTP      string // the path of a request
	Status    int    // of the answer; 0: any status from 200 to 399
	Listening bool   // a process of the server listens at the address
	Notify    bool   // the server sends READY=1 (sd_notify(3))
	Stdout    *regexp.Regexp
	Run       Command       // the server is ready if this exits with status 0
	Within    time.Duration // default ReadyWithin
}

// Stop configures how the server is stopped.
type Stop struct {
	Signal unix.Signal   // default SIGTERM
	Grace  time.Duration // from Signal until SIGKILL; default 10 s
}

// Identify names the response headers by which the server identifies the process that answers.
type Identify struct {
	Worker     string // the PID of the answering process
	Generation string // the value of {{generation}}
}

// Limits are limits on what the server may use. Files and Memory apply to each process.
type Limits struct {
	Files  uint64 // descriptors; 0: this program's hard limit, at most 65,536
	Memory uint64 // bytes of private memory (RLIMIT_DATA); 0: half of the machine's
	// Processes is the maximum number of processes and threads of the server's user, including
	// those outside the home (RLIMIT_NPROC). It does not limit root. 0: the larger of 4096 and a
	// quarter of the machine's (kernel.threads-max, kernel.pid_max), but at most this program's
	// hard limit.
	Processes uint64
}

// Env is the environment in which a server runs.
type Env struct {
	// Agent returns the command that runs AgentMain.
	Agent func() *exec.Cmd
	// Adopted, if not nil, is used instead of Agent and Start. New takes it over, and closes it
	// even after an error.
	Adopted *Agent
	// Terminated, if not nil, is called when an adopted agent has got SIGTERM, with the time.
	Terminated func(at clock.Instant)
	// Start starts a command in the lab, on the servers' network and CPUs. It must keep the
	// Cloneflags of the command's SysProcAttr.
	Start func(*exec.Cmd) error
	// Do runs f on a thread in the servers' network namespace.
	Do    func(f func() error) error
	Clock *clock.Clock
}

// ReadyWithin is the default of Ready.Within.
const ReadyWithin = 20 * time.Second

const (
	defaultGrace  = 10 * time.Second
	defaultWithin = 10 * time.Second // of Action.Within and Config.RestartWithin
	// pollEvery and pollMost are the shortest and the longest interval at which conditions are
	// polled.
	pollEvery = 10 * time.Millisecond
	pollMost  = 50 * time.Millisecond
	// goneEvery is the interval at which this program checks whether processes have stopped, or are
	// gone although it has no descriptors of them. It is short because a restart may start the next
	// server only when the previous one is gone, and every request is lost until the next one
	// listens.
	goneEvery = time.Millisecond
)

// withDefaults returns the configuration with every default filled in.
func (c Config) withDefaults() Config {
	if c.Ready.Within == 0 {
		c.Ready.Within = ReadyWithin
	}
	r := c.Ready
	if r.HTTP == "" && !r.Notify && r.Stdout == nil && r.Run.empty() {
		c.Ready.Listening = true
	}
	if c.RestartWithin == 0 {
		c.RestartWithin = defaultWithin
	}
	if c.Backlog == 0 {
		c.Backlog = 4096
	}
	if c.Stop.Signal == 0 {
		c.Stop.Signal = unix.SIGTERM
	}
	if c.Generation == 0 {
		c.Generation = 1
	}
	if c.Stop.Grace == 0 {
		c.Stop.Grace = defaultGrace
	}
	return c
}

// workingDirectory returns the absolute path of the working directory.
func (c Config) workingDirectory() (string, error) {
	switch {
	case c.Directory == "":
		return homeDirectory, nil
	case filepath.IsAbs(c.Directory):
		return c.Directory, nil
	}
	return filepath.Abs(filepath.Join(c.Base, c.Directory))
}

// checkReady returns an error if Ready is ambiguous or sets no condition. Defaults must be filled
// in.
func (c Config) checkReady() error {
	r := c.Ready
	switch {
	case count(r.HTTP != "", r.Listening, r.Notify, r.Stdout != nil, !r.Run.empty()) > 1:
		return errors.New("ready: has more than one condition")
	case c.Sockets != "" && c.Sockets != vocabulary.SocketsShared &&
		c.Sockets != vocabulary.SocketsReuseport:
		return fmt.Errorf("sockets: %s are not passed to a server", c.Sockets)
	case c.Sockets != "" && r.Listening:
		return errors.New("ready: listening is true at once where sockets are passed; use http, " +
			"notify, stdout or run")
	}
	return nil
}
