package servers_test

import (
	"testing"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	. "reuseport-bench/servers" // package worker imports it, so these tests cannot be part of it
)

// first returns the first value that o allows, or other if o allows all.
func first[T ~string](o vocabulary.Only[T], other T) T {
	if len(o.Values) > 0 {
		return o.Values[0]
	}
	return other
}

// TestEveryStopMode checks that every kind of worker stops in every mode that the vocabulary allows
// for it.
func TestEveryStopMode(t *testing.T) {
	for _, kind := range vocabulary.WorkerKinds() {
		for _, mode := range vocabulary.StopModes() {
			if !mode.Kind.Allows(kind.Name) {
				continue
			}
			t.Run(string(kind.Name)+"/"+string(mode.Name), func(t *testing.T) {
				g := newTestGroup(t, Config{
					Kind: kind.Name, Sockets: first(mode.Sockets, vocabulary.SocketsReuseport),
					Workers:  1,
					Handover: mode.Handover, Grace: 2 * time.Second,
				})
				gen := g.generation()
				w := gen.Workers[0]
				g.want("before", g.answers(1), map[int]int{w.ID: 1})
				g.stop(gen.Workers, mode.Name)
				if err := g.Finish(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := w.Err(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestEveryAcceptMode checks that workers serve in every accept mode of the vocabulary.
func TestEveryAcceptMode(t *testing.T) {
	for _, mode := range vocabulary.AcceptModes() {
		t.Run(string(mode.Name), func(t *testing.T) {
			g := newTestGroup(t, Config{
				Kind: first(mode.Kind, vocabulary.ServerLoop), Accept: mode.Name, Workers: 1,
				Sockets: first(mode.Sockets, vocabulary.SocketsReuseport),
			})
			gen := g.generation()
			g.want("served", g.answers(2), map[int]int{gen.Workers[0].ID: 2})
		})
	}
}
