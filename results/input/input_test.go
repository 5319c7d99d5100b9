package input

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// A test of Open that hangs is a failure: nothing writes to the named pipe.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	regular := filepath.Join(dir, "regular")
	if err := os.WriteFile(regular, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("regular", link); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "pipe\n")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	toFIFO := filepath.Join(dir, "to-pipe")
	if err := os.Symlink(fifo, toFIFO); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	for name, want := range map[string]string{
		fifo: "is a named pipe", toFIFO: "is a named pipe", dir: "is a directory",
		socket: "is a socket", "/dev/zero": "is a device", "/dev/null": "is a device",
	} {
		f, err := Open(name)
		if err == nil {
			f.Close()
			t.Errorf("Open(%q) succeeded; want an error", name)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%q): %v; want one line with %q", name, err, want)
		}
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of nothing: %v", err)
	}
	for _, name := range []string{regular, link} {
		if got := read(t, name); got != "text" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A pipe without a name is what a shell's <(…) and /dev/stdin are. Its writer may be late, or gone.
func TestOpenPipe(t *testing.T) {
	for _, late := range []bool{true, false} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		write := func() {
			if _, err := io.WriteString(w, "text"); err != nil {
				t.Error(err)
			}
			w.Close()
		}
		f, done := r, make(chan bool)
		if late {
			go func() { write(); close(done) }()
		} else {
			write()
			close(done)
		}
		if got := read(t, "/dev/fd/"+fdOf(f)); got != "text" {
			t.Errorf("late %t: %q", late, got)
		}
		<-done
	}
}

// fdOf is the descriptor's number; Fd would make it blocking.
func fdOf(f *os.File) string {
	number := ""
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { number = strconv.Itoa(int(fd)) })
	}
	if err != nil {
		return err.Error()
	}
	return number
}

func read(t *testing.T, name string) string {
	t.Helper()
	f, err := Open(name)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		t.Error(err)
	}
	return string(content)
}

func TestLimit(t *testing.T) {
	for _, test := range []struct {
		text string
		ok   bool
	}{{"", true}, {"1234", true}, {"12345", false}, {strings.Repeat("1", 10000), false}} {
		got, err := io.ReadAll(Limit(iotest.OneByteReader(strings.NewReader(test.text)), 4))
		var large *TooLargeError
		switch {
		case test.ok && (err != nil || string(got) != test.text):
			t.Errorf("%q: read %q, %v", test.text, got, err)
		case !test.ok && (!errors.As(err, &large) || large.Limit != 4):
			t.Errorf("%d bytes: %v; want a TooLargeError of 4", len(test.text), err)
		}
	}
}
