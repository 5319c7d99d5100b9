package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// errInterrupted is the cause of a context that a signal has ended.
var errInterrupted = errors.New("interrupted")

// An interrupter ends the program on a signal. While there is something to clean up, the first
// signal ends a context and the second one the program. At any other time the first signal ends the
// program.
type interrupter struct {
	mu  sync.Mutex
	end context.CancelCauseFunc // ends what is under way; nil: nothing is, or it is ending
}

// newInterrupter starts to handle the signals by which users, terminals and supervisors end
// programs. If SIGHUP is ignored, as in programs that nohup(1) starts, it stays ignored.
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

// interrupt ends the context of begin, or the program if there is none. It holds the lock, so that
// nothing can begin meanwhile, and prints nothing, because writing might block.
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
// call done once everything is cleaned up.
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
