package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// errInterrupted is the cause of the context that a signal ends.
var errInterrupted = errors.New("interrupted")

// An interrupter ends the program when a signal asks for it. While there is something to clear away
// the first signal ends a context, and the next one the program. At any other time the first signal
// ends the program, whatever it waits for.
type interrupter struct {
	mu  sync.Mutex
	end context.CancelCauseFunc // ends what is under way; nil: nothing is, or it is ending
}

// newInterrupter starts to heed the signals that users, terminals and supervisors end programs
// with. Where SIGHUP is ignored, as in programs that nohup(1) starts, it stays so.
func newInterrupter() *interrupter {
	i := &interrupter{}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		for range signals {
			i.interrupt()
		}
	}()
	return i
}

// interrupt ends what is under way, or else the program: under the lock, so that nothing can begin
// meanwhile, and without a message, because writing it might block.
func (i *interrupter) interrupt() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.end == nil {
		os.Exit(exitInterrupted)
	}
	i.end(errInterrupted)
	i.end = nil
}

// begin returns a context that the next signal ends, with the cause errInterrupted. The caller must
// call done when nothing is left to clear away.
func (i *interrupter) begin(parent context.Context) (ctx context.Context, done func()) {
	ctx, end := context.WithCancelCause(parent)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.end = end
	return ctx, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.end = nil
		end(nil)
	}
}
