package main

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// endings are the signals that end a run.
var endings = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// If there is nothing to clean up, the first signal ends the program without a message or a stack
// trace. In this test the program is blocked in a read.
func TestSignalWhileReading(t *testing.T) {
	p := newProgram(t)
	for _, by := range endings {
		t.Run(by.String(), func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			c := p.command(t.Context(), "show", "/dev/stdin")
			c.Stdin = r
			var said bytes.Buffer
			c.Stdout, c.Stderr = &said, &said
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			r.Close()
			if _, err := w.WriteString("name: never-ends\n"); err != nil {
				t.Fatal(err)
			}
			for left := 1; left > 0; time.Sleep(time.Millisecond) { // until the program has read
				// pipe(7), FIONREAD
				if left, err = unix.IoctlGetInt(int(w.Fd()), unix.TIOCINQ); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Process.Signal(by); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait()
			if status := c.ProcessState.ExitCode(); status != exitInterrupted {
				t.Errorf("exit status %d, want %d", status, exitInterrupted)
			}
			if said.Len() > 0 {
				t.Errorf("it says %q", said.String())
			}
		})
	}
}
