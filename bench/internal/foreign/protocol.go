package foreign

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
)

// agentConfig is the first message that the agent reads from its control pipe.
type agentConfig struct {
	UID, GID int  // the ids under which commands run
	Nested   bool // commands run in a user namespace that maps the agent's id to UID and GID
	Limits   Limits
}

// A request asks the agent to start a command. Two kinds of files are sent with it: first the
// command's standard output, then the files that the command gets as descriptors 3 and up.
type request struct {
	ID   int
	Args []string
	Env  []string
	Dir  string
	// Passes is true if the files are listening sockets. The command then gets LISTEN_PID.
	Passes bool
	// Watch, if not empty, asks instead for descriptors of these processes (pidfd_open(2)). The
	// report has one for each process that still exists. Only a process in the lab's PID namespace
	// can open them by the PIDs in that namespace.
	Watch []int
	// Main, if not 0, tells instead to which process of the server an agent that others have
	// started passes SIGTERM, as Signal. There is no report.
	Main   int
	Signal unix.Signal
}

// A report is the agent's answer to a request. A second report follows when the command has exited.
// Reports with Term or Failure belong to no request.
type report struct {
	ID    int
	PID   int        // in the lab's PID namespace
	Errno unix.Errno // why the command was not started, or 0
	Path  string     // the file that Errno is about

	Exited bool
	Status unix.WaitStatus

	Term    clock.Instant // when the agent got SIGTERM
	Passed  bool          // the agent has passed it to the main process
	Failure string        // why the agent could not make the home
}

// maxMessage is the maximum size of a message between this program and its agent, in bytes. A
// socket's buffer has 208 KiB by default (net.core.wmem_default).
const maxMessage = 128 << 10

// maxFiles is the maximum number of files in a message: SCM_MAX_FD (include/net/scm.h).
const maxFiles = 253

// send sends one message with files. It does not close the files.
func send(to *net.UnixConn, message any, files ...*os.File) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(b) > maxMessage || len(files) > maxFiles {
		return fmt.Errorf("the command, its environment (%d KiB) or its sockets (%d) are too large",
			len(b)>>10, len(files))
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err = to.WriteMsgUnix(b, rights, nil)
	return err
}

// receive receives one message with its files. The caller must close the files. buffer must have
// maxMessage bytes.
func receive(from *net.UnixConn, buffer []byte, message any) (files []*os.File, err error) {
	space := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, size, _, _, err := from.ReadMsgUnix(buffer, space)
	if err != nil {
		return nil, err
	}
	controls, err := unix.ParseSocketControlMessage(space[:size])
	for i := range controls {
		fds, rightsErr := unix.ParseUnixRights(&controls[i])
		err = errors.Join(err, rightsErr)
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	if err == nil {
		err = json.Unmarshal(buffer[:n], message)
	}
	if err != nil {
		return nil, errors.Join(err, closeAll(files))
	}
	return files, nil
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// fileConn returns a connection that uses the socket f, and closes f.
func fileConn(f *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	unixConn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("not a Unix socket"), c.Close())
	}
	return unixConn, nil
}
