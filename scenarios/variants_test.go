package scenarios

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios/vocabulary"
)

func TestVariants(t *testing.T) {
	s, err := Load("restart")
	if err != nil {
		t.Fatal(err)
	}
	setup := variantDefaults()
	setup.Server.Start.When, setup.Server.Work.Sleep = vocabulary.StartParked, 100*time.Microsecond
	setup.Load.Rate = Rate{PerSecond: 2000}
	setup.Load.Duration = 1450 * time.Millisecond
	setup.Validity.LagFloor, setup.Validity.StepLag = 30*time.Millisecond, 100*time.Millisecond
	setup.Timeline = []Step{
		{At: 250 * time.Millisecond, Every: 150 * time.Millisecond, Do: "replace"},
	}
	var want []Variant
	for _, labels := range []Labels{
		{"sockets": "reuseport", "stop": "kill"},
		{"sockets": "reuseport", "stop": "close"},
		{"sockets": "reuseport", "stop": "drain"},
		{"sockets": "reuseport", "stop": "migrate"},
		{"sockets": "shared", "stop": "kill"},
		{"sockets": "shared", "stop": "handoff"},
		{"sockets": "exclusive", "stop": "bind-after-close", "workers": "1"},
	} {
		setup.Sockets = vocabulary.Sockets(labels["sockets"])
		setup.Stop = vocabulary.StopMode(labels["stop"])
		if labels["workers"] != "" {
			setup.Workers = 1
		}
		want = append(want, Variant{Labels: labels, Setup: setup})
	}
	if diff := cmp.Diff(s.Variants, want); diff != "" {
		t.Errorf("Variants (-got +want):\n%s", diff)
	}
}

func TestVariantsWithoutMatrix(t *testing.T) {
	s, err := Parse("f", []byte(head))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Variants, []Variant{{Labels: Labels{},
		Setup: variantDefaults()}}); diff != "" {
		t.Errorf("Variants (-got +want):\n%s", diff)
	}
}

// The matrix sets values, including nested ones, that the file omits, and overrides values that the
// file has. Variants do not affect each other.
func TestVariantsOverride(t *testing.T) {
	s, err := Parse("f", []byte("name: x\nload: {rate: 100/s}\nmatrix:\n- {load.duration: [1s, "+
		"2s], load.rate: [50/s]}\n- {server.work.sleep: [1ms], load.duration: [1s]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	first, second, third := variantDefaults(), variantDefaults(), variantDefaults()
	first.Load.Rate = Rate{PerSecond: 50}
	second.Load.Rate, second.Load.Duration = Rate{PerSecond: 50}, 2*time.Second
	third.Server.Work.Sleep = time.Millisecond
	want := []Variant{
		{Labels{"load.duration": "1s", "load.rate": "50/s"}, first},
		{Labels{"load.duration": "2s", "load.rate": "50/s"}, second},
		{Labels{"load.duration": "1s", "server.work.sleep": "1ms"}, third},
	}
	if diff := cmp.Diff(s.Variants, want); diff != "" {
		t.Errorf("Variants (-got +want):\n%s", diff)
	}
}

// variantDefaults returns the setup of the only variant of head: defaults with the values that
// complete sets.
func variantDefaults() Setup {
	s := defaults()
	s.Accept = "epoll"
	return s
}
