package sys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// capabilitiesRole is the argument that makes the test binary print describeCapabilities() and
// exit.
const capabilitiesRole = "capabilities"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == capabilitiesRole {
		os.Stdout.WriteString(describeCapabilities())
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == onMainThread {
		if err := startOnMainThread(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// describeCapabilities returns "all" if the process holds the capabilities of root, and "initial"
// if it is in the initial user namespace.
func describeCapabilities() string {
	s := ""
	if Holds(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_BPF) {
		s += "all "
	}
	if InInitialUserNamespace() {
		s += "initial "
	}
	return s
}

// TestCapabilities checks that root in a user namespace holds every capability and is not in the
// initial namespace.
func TestCapabilities(t *testing.T) {
	child := exec.Command("/proc/self/exe", capabilitiesRole)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if got, err := child.Output(); err != nil {
		t.Logf("cannot make a user namespace: %v", err)
	} else if string(got) != "all " {
		t.Errorf("root in a user namespace: got %q, want %q", got, "all ")
	}
}

// TestHoldsNothing checks that Holds reports the capabilities of the thread, not of the process.
func TestHoldsNothing(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // not unlocked, so the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			t.Error(err)
			return
		}
		admin := data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
		if got := Holds(unix.CAP_NET_ADMIN); got != admin {
			t.Errorf("CAP_NET_ADMIN: %v, want %v", got, admin)
		}
		data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &data[0]); err != nil {
			t.Error(err)
			return
		}
		if Holds(unix.CAP_NET_ADMIN) || Holds(unix.CAP_SETUID, unix.CAP_NET_ADMIN) {
			t.Error("Holds reports CAP_NET_ADMIN after it was dropped")
		}
	}()
	<-done
}

func TestMemoryFile(t *testing.T) {
	f, err := MemoryFile("text", "some text")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "some text" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestSizedMemoryFile(t *testing.T) {
	f, err := SizedMemoryFile("bounded", 8)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte("12345678")); err != nil {
		t.Error(err)
	}
	if _, err := f.Write([]byte("9")); !errors.Is(err, unix.EPERM) {
		t.Errorf("write past the end: error %v, want EPERM", err)
	}
	b := make([]byte, 16)
	if n, err := f.ReadAt(b, 0); string(b[:n]) != "12345678" || !errors.Is(err, io.EOF) {
		t.Errorf("read %q, %v", b[:n], err)
	}
}

// TestThreadCPU checks that computing uses CPU time and sleeping does not.
func TestThreadCPU(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, process := ThreadCPU(), ProcessCPU()
	time.Sleep(20 * time.Millisecond)
	if used := ThreadCPU() - began; used > 10*time.Millisecond {
		t.Errorf("a sleep of 20 ms used %v", used)
	}
	for began = ThreadCPU(); ThreadCPU() < began+20*time.Millisecond; {
	}
	if used := ProcessCPU() - process; used < 15*time.Millisecond {
		t.Errorf("the process used %v, want at least 15ms: its thread used 20ms", used)
	}
}
