package unit

import "testing"

func TestScale(t *testing.T) {
	for _, test := range []struct {
		ns   []float64
		want string
	}{
		{nil, "ms"}, {[]float64{0}, "ms"}, {[]float64{1}, "ns"}, {[]float64{999}, "ns"},
		{[]float64{1, 1000}, "µs"}, {[]float64{999_999}, "µs"}, {[]float64{1e6, 3}, "ms"},
		{[]float64{9.9e9}, "ms"}, {[]float64{1e10}, "s"}, {[]float64{-5e6}, "ms"},
	} {
		if got := Nanoseconds.Scale(test.ns...); got.Name != test.want {
			t.Errorf("%v: got %s, want %s", test.ns, got.Name, test.want)
		}
	}
	if got := PerSecond.Scale(1e12); got != Plain() {
		t.Errorf("a rate has the scale %+v, want Plain", got)
	}
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		unit   Unit
		x      float64
		digits int
		want   string
	}{
		{Nanoseconds, 0, 3, "0s"},
		{Nanoseconds, 999.6, 3, "1µs"},
		{Nanoseconds, 1_234_567, 3, "1.23ms"},
		{Nanoseconds, -1_234_567, 3, "-1.23ms"},
		{Nanoseconds, 0.4, 3, "0s"},
		{PerRestart, 1.23456, 3, "1.23"},
		{PerRestart, 1.23456, 4, "1.235"},
	} {
		if got := test.unit.Text(test.x, test.digits); got != test.want {
			t.Errorf("%v in unit %d: got %q, want %q", test.x, test.unit, got, test.want)
		}
	}
}

func TestSpread(t *testing.T) {
	lo, hi := 1.0, 3.0
	if got := Spread(2, &lo, &hi, Number); got != "2.00 [1.00, 3.00]" {
		t.Errorf("got %q", got)
	}
	if got := Spread(2, &lo, nil, Number); got != "2.00" {
		t.Errorf("without an interval: got %q", got)
	}
}
