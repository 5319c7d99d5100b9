package foreign

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// agentConfig is what the agent reads first, from its control pipe.
type agentConfig struct {
	UID, GID int    // that commands run under
	Nested   bool   // they run in a user namespace that maps the agent's id to UID and GID
	Files    uint64 // RLIMIT_NOFILE
	Memory   uint64 // RLIMIT_DATA
}

// A request asks the agent to start a command. Its standard output and the files that it gets from
// descriptor 3 on come with it.
type request struct {
	ID   int
	Args []string
	Env  []string
	Dir  string
	// Passes says that the files are listening sockets: the command gets LISTEN_PID.
	Passes bool
}

// A report is the agent's answer to a request and, later, that the command has exited.
type report struct {
	ID    int
	PID   int        // in the lab
	Errno unix.Errno // why it was not started, or 0
	Path  string     // what Errno is about

	Exited bool
	Status unix.WaitStatus
}

// maxMessage is the largest message between this program and its agent. The kernel's default for
// the buffer of a socket is 208 KiB (net.core.wmem_default).
const maxMessage = 128 << 10

// maxFiles is how many files a message can carry: SCM_MAX_FD (include/net/scm.h).
const maxFiles = 253

// send sends one message with files, which the caller keeps.
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

// receive receives one message with its files, which the caller closes. buffer has maxMessage
// bytes.
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

// fileConn returns the connection of a socket and closes the file.
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
