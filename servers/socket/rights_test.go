package socket

import (
	"crypto/rand"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// offered returns an offer that the test's end closes, and its name.
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

// Descriptors that are given are the same open files, closed on exec.
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
	fds, err := Ask(name, 2, 5*time.Second)
	if err := errors.Join(err, <-given); err != nil {
		t.Fatal(err)
	}
	for i, fd := range fds {
		var got, want unix.Stat_t
		if err := errors.Join(unix.Fstat(fd, &got), unix.Fstat([]int{int(r.Fd()), int(w.Fd())}[i], &want)); err != nil || got.Ino != want.Ino {
			t.Errorf("descriptor %d is of inode %d, want %d, %v", i, got.Ino, want.Ino, err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d has the flags %#x, %v", i, flags, err)
		}
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	}
}

// A process that has asked and is gone, and none that asks, are no errors.
func TestGiveToNobody(t *testing.T) {
	offer, name := offered(t)
	if err := GiveNext(offer, offer); err != nil {
		t.Errorf("no one asks: %v", err)
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
		t.Errorf("gone: %v", err)
	}
}

func TestAskInVain(t *testing.T) {
	_, name := offered(t)
	if fds, err := Ask(name, 1, 20*time.Millisecond); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("no one gives: %v, error %v", fds, err)
	}
	if fds, err := Ask(name+"-other", 1, time.Second); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("no one offers: %v, error %v", fds, err)
	}
}
