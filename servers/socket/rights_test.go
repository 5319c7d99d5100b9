package socket

import (
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// offered returns a new offer and its name. The offer is closed when the test ends.
func offered(t *testing.T) (fd int, name string) {
	t.Helper()
	name = "reuseport-bench-test-" + rand.Text()
	fd, err := Offer(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd, name
}

// TestGive checks that received descriptors refer to the same open files as those sent, and are
// close-on-exec.
func TestGive(t *testing.T) {
	offer, name := offered(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	given := make(chan error, 1)
	go func() {
		wait := []unix.PollFd{{Fd: int32(offer), Events: unix.POLLIN}}
		for {
			if n, err := unix.Poll(wait, 5000); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
				break
			}
		}
		given <- GiveNext(offer, int(r.Fd()), int(w.Fd()))
	}()
	fds, err := Ask(name, nil, 2, 5*time.Second)
	if err := errors.Join(err, <-given); err != nil {
		t.Fatal(err)
	}
	for i, fd := range fds {
		var got, want unix.Stat_t
		original := []*os.File{r, w}[i]
		err := errors.Join(unix.Fstat(fd, &got), unix.Fstat(int(original.Fd()), &want))
		if err != nil || got.Ino != want.Ino {
			t.Errorf("descriptor %d has inode %d, want %d, error %v", i, got.Ino, want.Ino, err)
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d has flags %#x, want FD_CLOEXEC, error %v", i, flags, err)
		}
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	}
}

// TestAskByPath checks that Ask finds a socket by its path and sends the request, and that signals
// do not end its wait.
func TestAskByPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "offer")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := unix.Gettid()
	given := make(chan error, 1)
	request := make([]byte, 16)
	go func() {
		given <- func() error {
			c, err := l.AcceptUnix()
			if err != nil {
				return err
			}
			defer c.Close()
			n, err := c.Read(request)
			if err != nil {
				return err
			}
			request = request[:n]
			for range 20 {
				if err := unix.Tgkill(os.Getpid(), thread, unix.SIGURG); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
			_, _, err = c.WriteMsgUnix([]byte{1}, unix.UnixRights(int(os.Stderr.Fd())), nil)
			return err
		}()
	}()
	fds, err := Ask(path, []byte("please"), 1, 5*time.Second)
	if err := errors.Join(err, <-given); err != nil {
		t.Fatal(err)
	}
	if string(request) != "please" {
		t.Errorf("the request was %q", request)
	}
	if err := unix.Close(fds[0]); err != nil {
		t.Error(err)
	}
}

// TestGiveWithoutAsker checks that GiveNext succeeds if no process has asked, and if the process
// that asked has exited.
func TestGiveWithoutAsker(t *testing.T) {
	offer, name := offered(t)
	if err := GiveNext(offer, offer); err != nil {
		t.Errorf("without a process that asks: %v", err)
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.Connect(s, &unix.SockaddrUnix{Name: "@" + name})
	if err := errors.Join(err, unix.Close(s)); err != nil {
		t.Fatal(err)
	}
	if err := GiveNext(offer, offer); err != nil {
		t.Errorf("the process that asked has exited: %v", err)
	}
}

func TestAskFails(t *testing.T) {
	_, name := offered(t)
	if fds, err := Ask(name, nil, 1, 20*time.Millisecond); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("offer that gives nothing: got %v, error %v, want EAGAIN", fds, err)
	}
	if fds, err := Ask(name+"-other", nil, 1, time.Second); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("no offer: got %v, error %v, want ECONNREFUSED", fds, err)
	}
}
