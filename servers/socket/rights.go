package socket

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Offer returns a non-blocking Unix socket, called an offer, at which other processes can Ask for
// descriptors. Its name is in the abstract namespace: the name belongs to the calling thread's
// network namespace and leaves no file (unix(7)). The caller closes the socket.
func Offer(name string) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("unix socket: %w", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + name}); err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		return -1, fmt.Errorf("unix socket @%s: %w", name, errors.Join(err, unix.Close(fd)))
	}
	return fd, nil
}

// GiveNext sends descriptors to the next process that has asked at an offer, if any. The caller
// keeps its own copies. If that process has exited meanwhile, this is no error.
func GiveNext(offer int, fds ...int) error {
	asking, _, err := unix.Accept4(offer, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		return nil
	case err != nil:
		return fmt.Errorf("hand over: accept: %w", err)
	}
	err = Give(asking, fds...)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		err = nil // the process that asked has exited
	}
	return errors.Join(err, unix.Close(asking))
}

// Give sends descriptors to the other end of a Unix socket (SCM_RIGHTS). The caller keeps its own
// copies.
func Give(to int, fds ...int) error {
	count, rights := []byte{byte(len(fds))}, unix.UnixRights(fds...)
	if err := unix.Sendmsg(to, count, rights, nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("hand over: sendmsg: %w", err)
	}
	return nil
}

// address returns the name of a Unix socket as package unix takes it: a path if the name begins
// with a slash, and an abstract name otherwise.
func address(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "@" + name
}

// Ask requests n descriptors at the offer with that name and waits for them, at most for the limit.
// A name that begins with a slash is the path of a socket; it is valid in every network namespace.
// If the request is not empty, Ask sends it first. The descriptors are close-on-exec. The caller
// closes them, including any that are returned with an error.
func Ask(name string, request []byte, n int, limit time.Duration) (fds []int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("ask for a socket at %s: %w", address(name), err)
		}
	}()
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("unix socket: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(s)) }()
	timeout := unix.NsecToTimeval(int64(limit))
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	if err := unix.Connect(s, &unix.SockaddrUnix{Name: address(name)}); err != nil {
		return nil, err
	}
	if len(request) > 0 {
		if _, err := Send(s, request); err != nil {
			return nil, err
		}
	}
	return receive(s, n)
}

// receive receives n descriptors in one message.
func receive(s, n int) (fds []int, err error) {
	data, space := make([]byte, 1), make([]byte, unix.CmsgSpace(4*n))
	size := 0
	for {
		_, size, _, _, err = unix.Recvmsg(s, data, space, unix.MSG_CMSG_CLOEXEC)
		// A signal handler interrupts the call, because the socket has a timeout (signal(7)).
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(space[:size])
	if err == nil && len(messages) == 1 {
		fds, err = unix.ParseUnixRights(&messages[0])
	}
	if err != nil || len(fds) != n {
		return fds, errors.Join(fmt.Errorf("got %d descriptors, want %d", len(fds), n), err)
	}
	return fds, nil
}
