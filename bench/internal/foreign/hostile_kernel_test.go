package foreign

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A server owns its home. It puts links and FIFOs in the way of the files of its next restart. This
// program may have more rights than the server, but it writes nothing outside the home and does not
// wait.
func TestKernelHostileHome(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for dir := outside; dir != "/" && dir != "/tmp"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		in   string // commands of the server
		file string
		want string // part of the error of write, or "" for none
	}{
		"link in place of the file": {"ln -s " + outside + "/target app.conf", "app.conf", ""},
		"link in place of the new file": {
			"ln -s " + outside + "/target app.conf.new", "app.conf", ""},
		"link in place of a directory": {
			"rm -rf sub; ln -s " + outside + " sub", "sub/app.conf", "too many levels of symbolic"},
		"FIFO": {"mkfifo app.conf", "app.conf", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := started(t, helper("ok"))
			if err := s.runAsServer(t, test.in); err != nil {
				t.Fatal(err)
			}
			err := s.home.write(test.file, []byte("x"), 0o644)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q", err, test.want)
			}
			left, err := os.ReadDir(outside)
			if err != nil || len(left) > 0 {
				t.Errorf("outside of the home: %v, %v", left, err)
			}
			if test.want == "" {
				text, err := s.home.read(test.file, 10)
				if err != nil || string(text) != "x" {
					t.Errorf("the file has %q: %v", text, err)
				}
			}
			stop(t, s)
		})
	}
}

// A server inherits its standard descriptors and nothing else, and cannot make this program read a
// file that only this program's user may read.
func TestKernelInheritsNothing(t *testing.T) {
	t.Parallel()
	s := started(t, helper("ok"))
	// ls itself opens the directory that it lists.
	if err := s.runAsServer(t, "ls /proc/self/fd > fds; ln -s /etc/shadow secret"); err != nil {
		t.Fatal(err)
	}
	text, err := s.home.read("fds", 100)
	if got := strings.Fields(string(text)); err != nil || len(got) != 4 {
		t.Errorf("descriptors %q: %v; want 0 to 3", got, err)
	}
	if text, err := s.home.read("secret", 100); err == nil {
		t.Errorf("read %d bytes of a file of another user", len(text))
	}
	stop(t, s)
}

// runAsServer runs shell commands in the home, as the server's user.
func (s *Server) runAsServer(t *testing.T, commands string) error {
	t.Helper()
	c, err := s.run(t.Context(), Command{List: []string{"/bin/sh", "-c", commands}}, "test",
		s.variables(), nil, s.output)
	if err != nil {
		return err
	}
	return c.await(t.Context(), 0, defaultWithin)
}
