package stats

import (
	"math"
	"testing"
)

// The textbook example is Anscombe's first data set (The American Statistician 27, 1973): y =
// 3.0001 + 0.5001 x, standard error of the slope 0.1179, 9 degrees of freedom.
func TestLeastSquares(t *testing.T) {
	x := []float64{10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5}
	y := []float64{8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68}
	got := LeastSquares(x, y)
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-4*math.Max(1, b) }
	if !near(got.Slope, 0.5001) || !near(got.AtNone, 3.0001) || got.N != 11 {
		t.Errorf("%+v", got)
	}
	if want := 2.2622 * 0.1179; math.Abs(got.Half-want) > 2e-4 {
		t.Errorf("half the interval is %.5f, want %.5f", got.Half, want)
	}
}
