package input

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// Open must not block: nothing writes to the named pipe.
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
		t.Errorf("Open of a missing file: %v", err)
	}
	for _, name := range []string{regular, link} {
		if got := read(t, name); got != "text" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Open opens unnamed pipes, like a shell's <(…) and /dev/stdin, even if the writer has not written
// yet or has closed its end.
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

// fdOf returns the number of a descriptor. It does not use File.Fd, which makes the descriptor
// blocking.
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

func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"run.json": "run.json", "dir/größe 1": "dir/größe 1", "": `""`,
		"a\x1b[31m": `"a\x1b[31m"`, "a\nb": `"a\nb"`, "\u202ea": `"\u202ea"`,
		"bad\xff": `"bad\xff"`, "a\"b": `a"b`, "\u009b31m": `"\u009b31m"`,
		strings.Repeat("x", 5000):       strings.Repeat("x", maxName) + "…",
		"x" + strings.Repeat("ö", 5000): "x" + strings.Repeat("ö", maxName/2-1) + "…",
	} {
		if got := Name(name); got != want {
			t.Errorf("%q is written %s, want %s", name, got, want)
		}
	}
	_, err := Open(filepath.Join(t.TempDir(), "none\n"))
	if err == nil || !strings.HasSuffix(err.Error(), `/none\n": no such file or directory`) {
		t.Errorf("Open of a missing file: %v", err)
	}
}

func TestLine(t *testing.T) {
	long := strings.Repeat("x", 5000) // more than the reader's buffer
	for _, test := range []struct {
		text  string
		lines []string
		end   error
	}{
		{"", []string{""}, io.EOF},
		{"a\n\nb", []string{"a\n", "\n", "b"}, io.EOF},
		{long + "\nb\n", []string{long + "\n", "b\n", ""}, io.EOF},
		{long + "x\n", []string{""}, &TooLargeError{5001}},
		{"a\n" + strings.Repeat("y", 1<<20), []string{"a\n", ""}, &TooLargeError{5001}},
	} {
		in := bufio.NewReader(strings.NewReader(test.text))
		var lines []string
		var err error
		for err == nil {
			var line []byte
			line, err = Line(in, 5001)
			lines = append(lines, string(line))
		}
		if !slices.Equal(lines, test.lines) || err.Error() != test.end.Error() {
			t.Errorf("%.20q: %d lines, %v; want %d, %v", test.text, len(lines), err,
				len(test.lines), test.end)
		}
	}
}

func TestDecompressed(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	text := strings.Repeat("0123456789", 10000)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := packed.String()
	flipped := []byte(whole)
	flipped[len(flipped)/2] ^= 1
	for name, test := range map[string]struct{ file, want, failure string }{
		"uncompressed":  {text, text, ""},
		"empty":         {"", "", ""},
		"one byte":      {"\x1f", "\x1f", ""},
		"compressed":    {whole, text, ""},
		"twice":         {whole + whole, text + text, ""},
		"cut off early": {whole[:5], "", "the compressed file is cut off"},
		"cut off":       {whole[:len(whole)-9], "", "the compressed file is cut off"},
		"wrong checksum": {
			whole[:len(whole)-5] + "?" + whole[len(whole)-4:], "",
			"the compressed file is damaged",
		},
		"flipped bit":   {string(flipped), "", "the compressed file is damaged"},
		"trailing data": {whole + "more than a header", "", "the compressed file is damaged"},
	} {
		r, err := Decompressed(strings.NewReader(test.file))
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		var damaged *DamagedError
		switch {
		case test.failure == "" && (err != nil || string(got) != test.want):
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(test.want))
		case test.failure != "" && (!errors.As(err, &damaged) || err.Error() != test.failure):
			t.Errorf("%s: %v; want %s", name, err, test.failure)
		}
	}
	f, err := os.Open("/proc/self/mem") // its first page is unreadable
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := Decompressed(f)
	if err == nil {
		_, err = r.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("unreadable file: got %v, want EIO", err)
	}
}
