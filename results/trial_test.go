package results

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios/vocabulary"
)

func TestInvalidTrials(t *testing.T) {
	v := &Variant{Trials: []*Trial{
		{Valid: true},
		{InvalidReasons: []string{"stalled"}},
		{InvalidReasons: []string{"lag 1.2s > 3ms", "stalled", "lag 7s > 3ms"}},
		{InvalidReasons: []string{"lag 130µs > 3ms"}},
		{InvalidReasons: []string{"lag 4ms > 3ms"}},
		{Valid: true, Residual: 2},
		{},
	}}
	n, reasons := v.InvalidTrials()
	want := []Invalid{
		{"lag 1.2s > 3ms", true, 3}, {"stalled", false, 2}, {"residual 2", false, 1},
		{"no reason recorded", false, 1},
	}
	if diff := cmp.Diff(want, reasons); n != 6 || diff != "" {
		t.Errorf("%d trials; reasons (-want +got):\n%s", n, diff)
	}
}

// A reason is shortened. What it quotes of a server's output stays as the server wrote it.
func TestQuotedOutput(t *testing.T) {
	const quoted = "server: x: exit status 1 (at once); install it (by apt); its last lines: " +
		"return f(x); Listening at (80)"
	for _, test := range []struct{ got, want string }{
		{ShortReason("late (3 ms), so nothing follows; wait (a bit)"), "late"},
		{Remedy("late (3 ms), so nothing follows; wait (a bit)"), "wait"},
		{ShortReason(quoted), "server: x: exit status 1"},
		{Remedy(quoted), "install it"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
	for reason, want := range map[string]string{quoted: "return f(x); Listening at (80)",
		"server: exit status 1; it wrote nothing": ""} {
		if lines, ok := OfServer(reason); lines != want || !ok {
			t.Errorf("%q: %q, %t; want %q", reason, lines, ok, want)
		}
	}
	if _, ok := OfServer("late; wait"); ok {
		t.Error("a late load is not the server's failure")
	}
}

func TestLabelString(t *testing.T) {
	for want, labels := range map[string]map[string]string{
		"(no labels)": nil,
		"sockets=reuseport stop=close load.rate=500/s workers=4": {
			"workers": "4", "stop": "close", "load.rate": "500/s", "sockets": "reuseport",
		},
	} {
		if got := LabelString(labels); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTrialStart(t *testing.T) {
	replace := []Step{{Do: vocabulary.StepReplace}}
	for _, test := range []struct {
		name  string
		trial Trial
		want  vocabulary.Start
	}{
		{"no step", Trial{}, ""},
		{"steps that start nothing", Trial{Steps: []Step{{Do: vocabulary.StepStall}}}, ""},
		{"an older run", Trial{Steps: replace}, vocabulary.StartCold},
		{
			"parked", Trial{Steps: replace, Starts: &Starts{Start: vocabulary.StartParked}},
			vocabulary.StartParked,
		},
	} {
		if got := test.trial.Start(); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestReadyAfter(t *testing.T) {
	at := func(ns int64) *int64 { return &ns }
	for _, test := range []struct {
		name        string
		do          vocabulary.StepName
		ready, stop *int64
		want        *int64
	}{
		{"started, then stopped", vocabulary.StepReplace, at(12), at(12), at(2)},
		{"stopped no worker", vocabulary.StepAdd, at(13), nil, at(3)},
		{"stopped before", vocabulary.StepCrash, at(13), at(11), nil},
		{"never ready", vocabulary.StepReplace, nil, at(11), nil},
		{"started no worker", vocabulary.StepStall, at(20), nil, nil},
	} {
		step := Step{Do: test.do, AtNS: 10, ReadyNS: test.ready, StopNS: test.stop}
		got := step.ReadyAfterNS()
		if (got == nil) != (test.want == nil) || got != nil && *got != *test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestShortReason(t *testing.T) {
	for reason, want := range map[string]string{
		"the generator ran late (p99 138ms, allowed 50ms), so it says nothing": "the generator " +
			"ran late",
		"a CPU quota stopped everything (for 1s); give it whole CPUs": "a CPU quota stopped " +
			"everything",
		"worker 3 (generation 1): signal: killed": "worker 3: signal: killed",
		"attempts failed in the load (1: EMFILE 1), which says little": "attempts failed in the " +
			"load",
		"residual 3": "residual 3",
		"":           "",
	} {
		if got := ShortReason(reason); got != want {
			t.Errorf("%q: %q, want %q", reason, got, want)
		}
	}
	for reason, want := range map[string]string{
		"a quota (for 1s); give it whole CPUs":               "give it whole CPUs",
		"late after a step (1ms; allowed 2ms), so not known": "",
	} {
		if got := Remedy(reason); got != want {
			t.Errorf("%q: remedy %q, want %q", reason, got, want)
		}
	}
	var c ReasonCount
	for _, reason := range []string{
		"late (1ms)", "worker 3: killed", "worker 4: killed", "late (2ms)", "worker 5: killed",
	} {
		c.Add(reason)
	}
	if got, n := c.Commonest(); got != "worker 5: killed" || n != 3 {
		t.Errorf("most common: %q, %d times; want \"worker 5: killed\", 3 times", got, n)
	}
}
