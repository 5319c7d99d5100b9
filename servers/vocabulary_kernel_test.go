package servers_test

import (
	"testing"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
)

// first returns the first value that o allows, or another one where it allows all.
func first[T ~string](o vocabulary.Only[T], other T) T {
	if len(o.Values) > 0 {
		return o.Values[0]
	}
	return other
}

// Every kind of worker ends in every stop mode that the vocabulary allows it.
func TestEveryStopMode(t *testing.T) {
	for _, kind := range vocabulary.ServerKinds() {
		for _, mode := range vocabulary.StopModes() {
			if !mode.Kind.Allows(kind.Name) {
				continue
			}
			t.Run(string(kind.Name)+"/"+string(mode.Name), func(t *testing.T) {
				r := newRig(t, Config{
					Kind: kind.Name, Sockets: first(mode.Sockets, vocabulary.SocketsReuseport),
					Workers:  1,
					Handover: mode.Handover, Grace: 2 * time.Second,
				})
				gen := r.generation()
				w := gen.Workers[0]
				r.want("before", r.answers(1), map[int]int{w.ID: 1})
				r.stop(gen.Workers, mode.Name)
				if err := r.Finish(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := w.Err(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Workers serve by every accept mode of the vocabulary.
func TestEveryAcceptMode(t *testing.T) {
	for _, mode := range vocabulary.AcceptModes() {
		t.Run(string(mode.Name), func(t *testing.T) {
			r := newRig(t, Config{
				Kind: first(mode.Kind, vocabulary.ServerLoop), Accept: mode.Name, Workers: 1,
				Sockets: first(mode.Sockets, vocabulary.SocketsReuseport),
			})
			gen := r.generation()
			r.want("served", r.answers(2), map[int]int{gen.Workers[0].ID: 2})
		})
	}
}
