package chart_test

import (
	"fmt"
	"strings"

	"reuseport-bench/results/report/chart"
)

// A forest plot with one row that has a figure, and one in which nothing was seen.
func ExampleForest() {
	d := chart.Forest(chart.ForestChart{
		Title: "Dropped per restart, by variant",
		Axis:  "dropped per restart [95 %]",
		Rows: []chart.ForestRow{
			{
				Label: "shared · handoff", Figure: "≤ 3/320",
				Marks: []chart.Mark{{None: true, High: 3. / 320, Title: "none in 320 restarts"}},
			},
			{
				Label: "reuseport · close", Figure: "0.256", Interval: "[0.204, 0.318]",
				Marks: []chart.Mark{{Value: 0.256, Low: 0.204, High: 0.318, Title: "82 in 320"}},
			},
		},
	})
	page := "<style>" + chart.Style() + "</style>" + d.Inline()
	fmt.Println(strings.Count(page, "<title>"), "marks with figures")
	// Output: 2 marks with figures
}
