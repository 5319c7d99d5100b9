package unit

import (
	"math"
	"strconv"
	"strings"
)

// Plural writes a number with its noun: "1 trial", "0 trials", "2 load processes".
func Plural[N int | int64](n N, noun string) string {
	text := strconv.FormatInt(int64(n), 10) + " " + noun
	switch {
	case n == 1:
		return text
	case strings.HasSuffix(noun, "s"):
		return text + "es"
	}
	return text + "s"
}

// Numbers smaller or larger than these are written as a bound: 0.000000000123 is hard to read.
const (
	leastWritten = 1e-6
	mostWritten  = 1e15
)

// Number writes x with three significant digits, never in exponent form. From 100 up it writes no
// decimals.
func Number(x float64) string { return decimal(x, 3) }

// Digits is like Number, but with this many significant digits and without trailing zeros.
func Digits(x float64, digits int) string {
	text := decimal(x, digits)
	if strings.ContainsRune(text, '.') && !strings.ContainsRune(text, ' ') {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

func decimal(x float64, digits int) string {
	size := math.Abs(x)
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return "–"
	case x == 0:
		return "0"
	case size < leastWritten:
		return beyond(x < 0, "<", leastWritten)
	case size > mostWritten:
		return beyond(x < 0, ">", mostWritten)
	}
	decimals := max(0, digits-1-int(math.Floor(math.Log10(size))))
	return strconv.FormatFloat(x, 'f', decimals, 64)
}

// beyond writes the bound that a number exceeds, as "> 5", or for a negative number as "< -5".
func beyond(negative bool, sign string, bound float64) string {
	text := strconv.FormatFloat(bound, 'f', -1, 64)
	if !negative {
		return sign + " " + text
	}
	return map[string]string{"<": ">", ">": "<"}[sign] + " -" + text
}

// PValue writes a p value with three decimals, or as a bound if it is too small for them.
func PValue(p float64) string {
	if p < 0.001 {
		return "< 0.001"
	}
	return strconv.FormatFloat(p, 'f', 3, 64)
}

// Rates whose quotient is at most SameRate are written as one rate: a random schedule has slightly
// more or fewer attempts than its rate implies.
const SameRate = 1.02

// Roughly writes a rate, rounded to two digits if that changes it by at most 0.5 %. For example, a
// trial at 400/s may have offered only 399/s, because its last attempt was due after the end of the
// trial.
func Roughly(rate float64) string {
	digit := math.Pow(10, math.Floor(math.Log10(rate))-1)
	if round := math.Round(rate/digit) * digit; math.Abs(round-rate) <= 0.005*rate {
		rate = round
	}
	return Digits(rate, 3)
}
