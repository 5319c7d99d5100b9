package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// errInterrupted is the cause of a context that a signal cancelled.
var errInterrupted = errors.New("interrupted")

// An interrupter ends the program on a signal. While there is something to clean up, the first
// signal only cancels a context, and a second signal ends the program. At any other time the first
// signal ends the program.
type interrupter struct {
	mu  sync.Mutex
	end context.CancelCauseFunc // cancels the context that begin returned; nil if there is none
}

// newInterrupter starts to handle the signals by which users, terminals and supervisors end
// programs. If the program was started with SIGHUP ignored, as nohup(1) does, SIGHUP stays ignored.
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

// interrupt cancels the context that begin returned. If there is no such context, interrupt ends
// the program, with the lock held so that begin waits. It prints nothing, because writing might
// block.
func (i *interrupter) interrupt() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.end == nil {
		os.Exit(exitInterrupted)
	}
	i.end(errInterrupted)
	i.end = nil
}

// begin returns a context that the next signal cancels, with the cause errInterrupted. The caller
// must call done once everything is cleaned up.
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
