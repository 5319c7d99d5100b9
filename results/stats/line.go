package stats

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A Line is a straight line fitted to points by least squares.
type Line struct {
	N      int     // number of points
	Slope  float64 // y per x
	Half   float64 // the 95 % interval of the slope is Slope ± Half
	AtNone float64 // y at x = 0
}

// LeastSquares fits a line to at least three points. It computes the slope's standard error from
// the residuals and the spread of x (Montgomery, Peck and Vining, "Introduction to Linear
// Regression Analysis", 2.3).
func LeastSquares(x, y []float64) Line {
	atNone, slope := stat.LinearRegression(x, y, nil, false)
	var residual, spread float64
	mean := stat.Mean(x, nil)
	for i := range x {
		residual += math.Pow(y[i]-atNone-slope*x[i], 2)
		spread += math.Pow(x[i]-mean, 2)
	}
	freedom := float64(len(x) - 2)
	t := distuv.StudentsT{Sigma: 1, Nu: freedom}.Quantile(1 - (1-Confidence)/2)
	half := t * math.Sqrt(residual/freedom/spread)
	return Line{N: len(x), Slope: slope, Half: half, AtNone: atNone}
}
