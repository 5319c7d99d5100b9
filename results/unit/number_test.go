package unit

import (
	"math"
	"testing"
)

func TestPlural(t *testing.T) {
	for _, test := range []struct {
		n          int
		noun, want string
	}{
		{0, "trial", "0 trials"}, {1, "trial", "1 trial"}, {2, "valid trial", "2 valid trials"},
		{1, "load process", "1 load process"}, {3, "load process", "3 load processes"},
	} {
		if got := Plural(test.n, test.noun); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
		if got := Plural(int64(test.n), test.noun); got != test.want {
			t.Errorf("int64: got %q, want %q", got, test.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, test := range []struct {
		x              float64
		number, digits string // digits: with two digits
	}{
		{0, "0", "0"},
		{1, "1.00", "1"},
		{1.25, "1.25", "1.2"},
		{150, "150", "150"},
		{-4.5, "-4.50", "-4.5"},
		{6.25e-5, "0.0000625", "0.000063"},
		{5.63e-6, "0.00000563", "0.0000056"},
		{1e-6, "0.00000100", "0.000001"},
		{9.9e-7, "< 0.000001", "< 0.000001"},
		{-1e-300, "> -0.000001", "> -0.000001"},
		{12345678.9, "12345679", "12345679"},
		{1e300, "> 1000000000000000", "> 1000000000000000"},
		{-1e300, "< -1000000000000000", "< -1000000000000000"},
		{math.NaN(), "–", "–"},
		{math.Inf(-1), "–", "–"},
	} {
		if got := Number(test.x); got != test.number {
			t.Errorf("Number(%v): got %q, want %q", test.x, got, test.number)
		}
		if got := Digits(test.x, 2); got != test.digits {
			t.Errorf("Digits(%v, 2): got %q, want %q", test.x, got, test.digits)
		}
	}
	for p, want := range map[float64]string{
		0: "< 0.001", 1e-9: "< 0.001", 0.0319: "0.032", 1: "1.000",
	} {
		if got := PValue(p); got != want {
			t.Errorf("p %v: got %q, want %q", p, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for want, x := range map[string]float64{
		"0": 0, "1.00": 1, "1.23": 1.234, "12.3": 12.34, "123": 123.4, "1234": 1234.5,
		"0.500": 0.5, "0.0123": 0.01234, "0.00123": 0.001234, "0.0000625": 6.25e-5,
		"12345678": 12345678, "-4.50": -4.5, "< 0.000001": 1e-9,
	} {
		if got := Number(x); got != want || len(got) > 10 {
			t.Errorf("Number(%v): got %q, want %q", x, got, want)
		}
	}
}
