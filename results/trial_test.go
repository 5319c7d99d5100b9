package results

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
	want := []Invalid{{"lag 1.2s > 3ms", true, 3}, {"stalled", false, 2}, {"residual 2", false, 1}, {"no reason recorded", false, 1}}
	if diff := cmp.Diff(want, reasons); n != 6 || diff != "" {
		t.Errorf("%d trials; reasons (-want +got):\n%s", n, diff)
	}
}

func TestLabelString(t *testing.T) {
	for want, labels := range map[string]map[string]string{
		"(no labels)": nil,
		"sockets=reuseport stop=close load.rate=500/s workers=4": {"workers": "4", "stop": "close", "load.rate": "500/s", "sockets": "reuseport"},
	} {
		if got := LabelString(labels); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
