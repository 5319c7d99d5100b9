package report

import (
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/summary"
	"reuseport-bench/results/unit"
)

// roundTripBlock describes what added a round trip, how precisely, and how the losses depend on it.
func roundTripBlock(d *document.Document, s *results.Scenario, measured []*results.Variant) {
	by := func(who string) []*results.Variant {
		return slices.DeleteFunc(slices.Clone(measured), func(v *results.Variant) bool {
			return !slices.ContainsFunc(v.ValidTrials(), func(t *results.Trial) bool {
				return t.RoundTrip != nil && t.RoundTrip.By == who
			})
		})
	}
	byKernel, byRelay := by(results.ByNetem), by(results.ByRelay)
	if len(byKernel)+len(byRelay) == 0 {
		return
	}
	d.Heading(3, "Round trip between clients and servers")
	if len(byKernel) > 0 {
		d.Paragraph("The kernel delayed packets (netem), each by half of the round trip that was " +
			"asked for. How well it did is not measured.")
	}
	if len(byRelay) > 0 {
		d.Paragraph("A relay of this program delayed packets, a stand-in for netem, which this " +
			"kernel lacks: each by half of the round trip that was asked for. Round trip: that, " +
			"and what the relay added on average, both ways. Held longer: than asked, once it " +
			"had read a packet. Wait for its CPU: each time it was woken, on average; what came " +
			"meanwhile was read so much later.")
		d.Table(figureTable(s, byRelay, roundTripColumns))
	}
	var lines []string
	for _, slope := range summary.Slopes(s, metrics.DroppedPerRestart, "round_trip") {
		if slope.Slope == 0 && slope.AtNone == 0 {
			continue // the variant dropped nothing
		}
		const perSecond = 1e9
		lines = append(lines, slopeText("Dropped per restart", slope,
			unit.Digits(slope.Slope*perSecond, 4)+" ± "+unit.Digits(slope.Half*perSecond, 2),
			unit.Digits(slope.AtNone, 2)))
	}
	if len(lines) > 0 {
		d.Paragraph(strings.Join(lines, "\n") + "\nA close resets the handshakes that are under " +
			"way at its listener: of those that come in a round trip, the share whose SYN it had " +
			"answered.")
	}
}
