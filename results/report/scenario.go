package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/summary"
	"reuseport-bench/results/unit"
)

// A figureColumn is a column in a table of variants. It shows a metric, or what its function text
// writes.
type figureColumn struct {
	head     string
	metric   string
	interval bool
	// beside is a metric that is printed after "±", in the same scale.
	beside string
	// text, if set, writes the cell. The metric is then not printed.
	text func(*document.Table, *results.Scenario, *results.Variant) string
	// why, if set, returns the reason why a variant's figure is not printed, or "" if the figure is
	// printed.
	why     func(*results.Variant) string
	unnoted bool // the notes of the figures are left out
	// tone, if set, colours the cell.
	tone func(string) document.Tone
}

var (
	trialsColumn  = figureColumn{head: "valid/all\ntrials", text: trialCount}
	offeredColumn = figureColumn{head: "offered [1/s]", metric: metrics.Offered}
	// capacityColumn is empty, and so left out, unless the load is a share of the capacity.
	capacityColumn = figureColumn{head: "capacity [1/s]", metric: metrics.Capacity,
		text: capacityCell}
	// closedColumns are empty, and so left out, unless the load was a closed loop.
	closedColumns = []figureColumn{
		{head: "closed loop,\nclients", metric: metrics.Concurrency, text: clientCount},
		{head: "served [1/s]", metric: metrics.ServedPerSecond, interval: true},
	}
	// neverSentColumn is printed if a variant has attempts that were never sent.
	neverSentColumn = figureColumn{
		head: "never\nsent",
		text: func(_ *document.Table, _ *results.Scenario,
			v *results.Variant) string {
			return neverSentCount(v)
		},
	}

	restartLossColumns = []figureColumn{
		trialsColumn,
		{head: "restarts", text: restartCount},
		offeredColumn,
		capacityColumn,
		{head: "dropped/restart [95 %]", metric: metrics.DroppedPerRestart, interval: true},
		{head: "drop window", metric: metrics.DropWindow, interval: true},
		{head: "half-open\nlost/held", metric: metrics.HalfOpenLost, text: halfOpenCount},
	}
	coldStartColumns = []figureColumn{
		{head: "first served after", metric: metrics.FirstServed, interval: true},
		{head: "fair share after", metric: metrics.FairShare, interval: true},
		{head: "its share\nwhile cold", metric: metrics.NewcomerShare},
		{head: "its p50", metric: metrics.NewcomerP50, interval: true},
		{head: "its p99", metric: metrics.NewcomerP99, interval: true},
		{head: "others' p99", metric: metrics.OthersP99, interval: true},
	}
	searchColumns = []figureColumn{
		trialsColumn,
		{head: "highest rate [1/s]", metric: metrics.HighestRate, interval: true},
	}
	steadyLossColumns = []figureColumn{
		trialsColumn,
		offeredColumn,
		capacityColumn,
		{head: "dropped/attempt [95 %]", metric: metrics.DroppedPerAttempt, interval: true},
	}
	serviceColumns = []figureColumn{
		{head: "outage", metric: metrics.Outage, interval: true},
		{head: "lost share", metric: metrics.LostShare},
		{head: "dropped/step", metric: metrics.DroppedPerStep, interval: true},
		{head: "predicted", metric: metrics.PredictedLost, why: (*results.Variant).Unpredicted},
		{head: "closed to rules", metric: metrics.StaleRules, interval: true},
	}
	podColumns = []figureColumn{
		{head: "deleted to endpoints", metric: metrics.EndpointsLag},
		{head: "endpoints to rules", metric: metrics.RulesLag, interval: true},
		{head: "deleted to rules, longest", metric: metrics.Unrouted, interval: true},
		{head: "SIGTERM first", metric: metrics.TermFirst},
		{head: "served terminating", metric: metrics.ServedDeleted},
		{head: "listening to ready", metric: metrics.PodReady},
		{head: "listening to routed", metric: metrics.PodRouted, interval: true},
	}
	sharingColumns = []figureColumn{
		{head: "listening", metric: metrics.Listening, text: ofWorkers(metrics.Listening)},
		{head: "got connections", metric: metrics.Serving, text: ofWorkers(metrics.Serving)},
		{head: "largest share", metric: metrics.ShareMax, interval: true},
		{head: "smallest share", metric: metrics.ShareMin, interval: true},
	}
	retryColumns = []figureColumn{
		{head: "tries/attempt", metric: metrics.Tries, interval: true},
		{head: "masked/attempt", metric: metrics.Masked, interval: true},
		{head: "dropped/attempt", metric: metrics.DroppedPerAttempt, interval: true},
		{head: "read twice\nor more/attempt", metric: metrics.Repeated, interval: true},
		{head: "handled twice\nor more/attempt", metric: metrics.HandledTwice, interval: true},
		{head: "masked p50", metric: metrics.MaskedP50, interval: true},
		{head: "masked p99", metric: metrics.MaskedP99},
	}
	roundTripColumns = []figureColumn{
		{head: "round trip", metric: metrics.RoundTrip, interval: true},
		{head: "held longer,\np99", metric: metrics.RelayExcess, interval: true},
		{head: "wait for\nits CPU", metric: metrics.RelayWait, interval: true},
		{head: "packets/attempt", metric: metrics.RelayPackets},
		{head: "share\nof a CPU", metric: metrics.RelayShare},
	}
	switchColumns = []figureColumn{
		{head: "gap ± resolution", metric: metrics.Gap, interval: true, beside: metrics.Resolution},
		{head: "outage", metric: metrics.Outage},
		{head: "stall", metric: metrics.Stall},
		{head: "takeover", metric: metrics.Takeover},
		{head: "tail", metric: metrics.Tail},
	}
	responseColumns = []figureColumn{
		{head: "p50", metric: metrics.ResponseP50, interval: true},
		{head: "p99", metric: metrics.ResponseP99, interval: true},
		{head: "p99.9", metric: metrics.ResponseP999},
		{head: "max", metric: metrics.ResponseMax},
		{head: "mean ± SD", metric: metrics.ResponseMean, beside: metrics.ResponseSD},
		{head: "lag p99", metric: metrics.ScheduleLag},
	}
	spreadColumns = []figureColumn{
		{head: "Jain", metric: metrics.Jain, interval: true},
		{head: "max/mean", metric: metrics.MaxOverMean, interval: true},
		{head: "top share", metric: metrics.TopShare},
		{head: "χ² p", metric: metrics.Chi2P},
		{head: "longest\nqueue", metric: metrics.QueueMax},
	}
	workColumns = []figureColumn{
		{head: "Jain of requests", metric: metrics.RequestsJain, interval: true},
		{head: "max/mean", metric: metrics.RequestsMaxOverMean, interval: true},
		{head: "top share", metric: metrics.RequestsTopShare},
		{head: "Jain of busy time", metric: metrics.BusyJain, interval: true},
		{head: "max/mean", metric: metrics.BusyMaxOverMean},
	}
	waitColumns = []figureColumn{
		{head: "workers occupied", metric: metrics.Load},
		{head: "mean wait", metric: metrics.Wait, interval: true},
		{head: "predicted", metric: metrics.PredictedWait, interval: true},
	}
	costColumns = []figureColumn{
		{head: "servers' CPU/attempt", metric: metrics.ServersCPUPerAttempt, interval: true},
		{head: "context switches/connection", metric: metrics.Switches, interval: true},
		{head: "eBPF selection", metric: metrics.Selection},
		{head: "harness' share\nof a CPU", metric: metrics.HarnessShare},
		{head: "of it\nwatching", metric: metrics.WatchShare},
		{head: "of it\nstanding in", metric: metrics.StandInShare},
		{head: "step late", metric: metrics.StepLate},
	}
	ratioColumns = []figureColumn{
		{head: "highest rate", metric: metrics.HighestRate},
		{head: "p50", metric: metrics.ResponseP50},
		{head: "p99", metric: metrics.ResponseP99},
		{head: "max", metric: metrics.ResponseMax},
		{head: "SD", metric: metrics.ResponseSD},
		{head: "servers' CPU", metric: metrics.ServersCPUPerAttempt},
		{head: "switches", metric: metrics.Switches},
	}
)

// scenarioBlocks adds one scenario: its description, its decisions, its tables, and what the tables
// leave out.
func scenarioBlocks(d *document.Document, s *results.Scenario) {
	aboutBlocks(d, s)
	tableBlocks(d, s)
	outsideBlocks(d, s)
	gateBlocks(d, s)
}

func aboutBlocks(d *document.Document, s *results.Scenario) {
	d.Heading(2, s.Name)
	if s.About != "" {
		d.Paragraph(s.About)
	}
	decidedBlocks(d, s)
}

// decidedBlocks adds the sentences that the scenario decided, the first of them unfolded, and what
// its figures are based on.
func decidedBlocks(d *document.Document, s *results.Scenario) {
	lines := answers(s)
	if first := mostSentences; len(lines) > first+1 {
		d.List(lines[:first])
		d.Fold(fmt.Sprintf("%d more sentences about %s", len(lines)-first, s.Name))
		d.List(lines[first:])
		d.EndFold()
	} else {
		d.List(lines)
	}
	basisBlocks(d, s)
}

// mostSentences is the number of sentences about a scenario that are not folded away.
const mostSentences = 12

// basisBlocks says what the scenario's figures are based on.
func basisBlocks(d *document.Document, s *results.Scenario) {
	n := newNames(s)
	needed := fmt.Sprintf("%d valid needed", s.MinValid)
	if lowered := s.LoweredMinValid(); lowered != "" {
		needed += " (" + lowered + ")"
	}
	lines := []string{fmt.Sprintf("Trials per variant: %d planned, %s.", s.Trials, needed)}
	if len(s.Baseline) > 0 {
		lines[0] += " Baseline: " + n.ofLabels(s.Baseline) + "."
	}
	if shared := n.sharedText(); shared != "" {
		lines = append(lines, shared+".")
	}
	if capacity := capacityText(s); capacity != "" {
		lines = append(lines, capacity)
	}
	d.Paragraph(strings.Join(lines, "\n"))
	if look := s.QuickLook(); look != "" {
		d.Paragraph(sentence(look) + ".")
	}
	if s.Stopped != "" {
		d.Paragraph("STOPPED before its end: " + s.Stopped + ".")
	}
}

// ordered returns the scenario's variants in the order in which every table has them. If steps may
// lose attempts, the variants that lose least come first; otherwise the order is the scenario's.
func ordered(s *results.Scenario) []*results.Variant {
	all := slices.Clone(s.Variants)
	_, steps := kinds(all)
	if steps {
		slices.SortStableFunc(all, func(a, b *results.Variant) int {
			return cmp.Compare(lossOf(a), lossOf(b))
		})
	}
	return all
}

// lossOf returns the figure by which a variant is sorted. It returns +Inf for a variant without a
// figure.
func lossOf(v *results.Variant) float64 {
	if s, ok := v.Summary[metrics.DroppedPerRestart]; ok {
		return s.Center
	}
	sum := results.Total(v.ValidTrials())
	if sum.Attempts == 0 {
		return math.Inf(1)
	}
	return float64(sum.Dropped) / float64(sum.Attempts)
}

// tableBlocks adds all tables of figures.
func tableBlocks(d *document.Document, s *results.Scenario) {
	measured := slices.DeleteFunc(ordered(s), func(v *results.Variant) bool {
		return v.SkippedReason != nil
	})
	if len(measured) > 0 {
		figureBlocks(d, s, measured)
	}
	causeBlocks(d, s, measured)
	var valid []*results.Trial
	for _, v := range measured {
		valid = append(valid, v.ValidTrials()...)
	}
	if lines := witnessLines(valid); len(lines) > 0 {
		d.Paragraph(strings.Join(lines, "\n"))
	}
}

// capacityText gives the capacity of which the load was a share, or "" if the load was not a share
// of it.
func capacityText(s *results.Scenario) string {
	var all []float64
	for _, v := range s.Variants {
		if v.CapacityPerSecond != nil {
			all = append(all, *v.CapacityPerSecond)
		}
	}
	if len(all) == 0 {
		return ""
	}
	low, high := slices.Min(all), slices.Max(all)
	if low == high {
		return fmt.Sprintf("Capacity of the servers, measured before the trials: %.0f/s.", low)
	}
	return fmt.Sprintf("Capacity of the servers, measured before the trials: %.0f/s to %.0f/s.",
		low, high)
}

// figureBlocks adds the tables of figures: of the switchover if there were steps, otherwise of the
// spread.
func figureBlocks(d *document.Document, s *results.Scenario, measured []*results.Variant) {
	restarts, steps := kinds(measured)
	lossColumns := steadyLossColumns
	if restarts {
		lossColumns = restartLossColumns
	}
	closedBlock(d, s, measured)
	lossColumns = slices.Insert(slices.Clone(lossColumns), 1, closedColumns...)
	if slices.ContainsFunc(measured, func(v *results.Variant) bool { return neverSent(v) > 0 }) {
		lossColumns = append(lossColumns, neverSentColumn)
	}
	if searched := figureTable(s, measured, searchColumns); len(searched.Columns) > 2 {
		d.Heading(3, "Highest rate with nothing dropped and p99 within the bound")
		d.Table(searched)
	}
	if sought := searchFor(measured); sought != nil {
		d.Heading(3, sentence(sought.what)+" with which nothing was dropped")
		d.Table(figureTable(s, measured, sought.columns()))
	}
	switch {
	case restarts:
		d.Heading(3, "Restarts, by loss")
		d.Table(figureTable(s, measured, slices.Concat(lossColumns, switchColumns)))
	default:
		d.Heading(3, "Losses")
		d.Table(figureTable(s, measured, lossColumns))
	}
	if cold := figureTable(s, measured, coldStartColumns); len(cold.Columns) > 1 {
		d.Heading(3, "Cold start of one more worker")
		d.Table(cold)
	}
	if behind := figureTable(s, behindService(measured), serviceColumns); len(behind.Rows) > 0 &&
		len(behind.Columns) > 1 {
		heading, what := controlPlane(behindService(measured))
		d.Heading(3, heading)
		d.Paragraph(what + " Predicted: offered rate × time in which rules led to pods where " +
			"nobody listened, weighed with their share, and to none at all. A client that waits " +
			"longer than 1 s sends a rejected SYN again, and is lost only if that meets nobody " +
			"either.")
		d.Table(behind)
		slopeBlock(d, s)
		if pods := figureTable(s, behindService(measured), podColumns); len(pods.Columns) > 1 {
			d.Paragraph("What endpoints and rules took to follow the pods. SIGTERM first: the " +
				"share of deleted pods that were told to end before the endpoints had " +
				"changed. Listening to ready: negative where a pod counts as ready before " +
				"it listens.")
			d.Table(pods)
		}
	}
	if sharing := figureTable(s, measured, sharingColumns); len(sharing.Columns) > 1 {
		d.Heading(3, "Which workers got the connections")
		d.Table(sharing)
	}
	roundTripBlock(d, s, measured)
	takenBlock(d, measured)
	retryBlock(d, s, measured)
	if steps && !restarts {
		d.Heading(3, "Switchover")
		d.Table(figureTable(s, measured, switchColumns))
	}
	startsBlock(d, s, measured)
	d.Heading(3, "Response time of served attempts")
	d.Table(figureTable(s, measured, responseColumns))
	stageBlock(d, s, measured)
	phaseBlock(d, s, measured)
	if !steps {
		d.Heading(3, "Spread of connections over workers")
		d.Table(figureTable(s, measured, spreadColumns))
	}
	if work := figureTable(s, measured, workColumns); !restarts && len(work.Columns) > 1 {
		d.Heading(3, "Spread of requests, and of the time spent on them, over workers")
		d.Table(work)
	}
	if slices.ContainsFunc(measured, func(v *results.Variant) bool {
		_, ok := v.Summary[metrics.PredictedWait]
		return ok
	}) {
		d.Heading(3, "Wait for a worker, measured (with the client's own time) and by "+
			"queueing theory")
		d.Table(figureTable(s, measured, waitColumns))
	}
	if cost := figureTable(s, measured, costColumns); len(cost.Columns) > 1 {
		d.Heading(3, "Cost")
		d.Table(cost)
		earlyBlock(d, measured)
	}
	ratioBlock(d, s, measured)
}

// earlyBlock gives the number of trials in which journals were read while the load was running.
func earlyBlock(d *document.Document, measured []*results.Variant) {
	trials, early, reads := 0, 0, int64(0)
	for _, v := range measured {
		for _, t := range v.ValidTrials() {
			if trials++; t.EarlyReads > 0 {
				early, reads = early+1, reads+t.EarlyReads
			}
		}
	}
	if early > 0 {
		d.Paragraph(fmt.Sprintf("In %d of %s journals had grown too large to wait for the end: "+
			"they were read %s while the load ran.",
			early, unit.Plural(trials, "trial"), unit.Plural(reads, "time")))
	}
}

// takenBlock gives the number of steps that replaced no worker because new workers could not bind
// their address.
func takenBlock(d *document.Document, measured []*results.Variant) {
	taken, all := 0, 0
	for _, v := range measured {
		for _, t := range v.ValidTrials() {
			for _, step := range t.Steps {
				if all++; step.BindError != "" {
					taken++
				}
			}
		}
	}
	if taken > 0 {
		d.Paragraph(fmt.Sprintf("In %d of %s new workers found their address taken (EADDRINUSE), "+
			"so the old ones kept serving: those steps do not count as restarts.", taken,
			unit.Plural(all, "step")))
	}
}

// retryBlock adds a table of what retries hid and cost, if clients retried. The table also has the
// variants whose clients did not retry.
func retryBlock(d *document.Document, s *results.Scenario, measured []*results.Variant) {
	if !slices.ContainsFunc(measured, func(v *results.Variant) bool {
		_, ok := v.Summary[metrics.Tries]
		return ok
	}) {
		return
	}
	d.Heading(3, "Clients that try again")
	d.Paragraph("An attempt is one request that the schedule called for; it makes one try " +
		"or more.\n" +
		"Masked: served, but not by the first try. Their response times have in them the tries " +
		"that failed and the waits between.\n" +
		"Read twice or more: a server had read the request when the client tried again.\n" +
		"Handled twice or more: it had also given it to a handler, so what it asked for may " +
		"have been done twice; after http.Server.Shutdown requests are read and dropped.")
	d.Table(figureTable(s, measured, retryColumns))
}

// slopeBlock describes how the outage depends on the lags in which the variants differ.
func slopeBlock(d *document.Document, s *results.Scenario) {
	var lines []string
	for _, slope := range summary.Slopes(s, metrics.Outage, "kube.endpoint_lag", "kube.node_lag") {
		lines = append(lines, slopeText("Outage", slope,
			unit.Digits(slope.Slope, 4)+" ± "+unit.Digits(slope.Half, 2)+" s",
			time.Duration(slope.AtNone).Round(100*time.Microsecond).String()))
	}
	if len(lines) > 0 {
		d.Paragraph(strings.Join(lines, "\n"))
	}
}

// slopeText describes how a figure depends on a lag: its change for each second of lag, and its
// value without lag.
func slopeText(what string, s summary.Slope, perSecond, atNone string) string {
	over := s.Key
	if s.Rest != "" {
		over += " with " + s.Rest
	}
	return fmt.Sprintf("%s over %s: %s for each second, %s where there is none "+
		"(%s, least squares, 95 %%).", what, over, perSecond, atNone, unit.Plural(s.N, "trial"))
}

// controlPlane returns a heading that names the control planes of the variants, and says what they
// are.
func controlPlane(variants []*results.Variant) (heading, what string) {
	var names []string
	for _, v := range variants {
		for _, t := range v.Trials {
			if t.ControlPlane != "" && !slices.Contains(names, t.ControlPlane) {
				names = append(names, t.ControlPlane)
			}
		}
	}
	slices.Sort(names)
	heading = "Behind a Service"
	var says []string
	for _, name := range names {
		if name == "embedded" {
			says = append(says, "The embedded control plane is this program's own stand-in, with "+
				"the lags that the scenario sets.")
			continue
		}
		heading += ", by " + name
		says = append(says, "Kubernetes is real: two nodes with kubelets and containerd on this "+
			"machine. Nothing but its own pods keeps it busy.")
	}
	if slices.Equal(names, []string{"embedded"}) {
		heading += ", by the embedded control plane"
	}
	return heading, strings.Join(says, " ") + " Rules and connection tracking are the kernel's."
}

// behindService returns the variants that ran with a control plane.
func behindService(variants []*results.Variant) []*results.Variant {
	return slices.DeleteFunc(slices.Clone(variants), func(v *results.Variant) bool {
		return !slices.ContainsFunc(v.Trials,
			func(t *results.Trial) bool { return t.ControlPlane != "" })
	})
}

// ratioBlock adds the ratios of the variants to the baseline, paired by block.
func ratioBlock(d *document.Document, s *results.Scenario, measured []*results.Variant) {
	baseline := s.BaselineVariant()
	if baseline == nil || len(measured) < 2 || len(baseline.ValidTrials()) == 0 {
		return
	}
	n := newNames(s)
	t := &document.Table{Columns: []document.Column{document.Left("variant ÷ baseline")}}
	columns := slices.DeleteFunc(slices.Clone(ratioColumns), func(c figureColumn) bool {
		return !slices.ContainsFunc(measured, func(v *results.Variant) bool {
			_, ok := compare.Variants(v, baseline, c.metric, stats.Confidence)
			return ok && v != baseline
		})
	})
	if len(columns) == 0 {
		return
	}
	for _, c := range columns {
		t.Columns = append(t.Columns, document.Right(c.head))
	}
	for _, v := range measured {
		if v == baseline {
			continue
		}
		unlike := ""
		cells := []string{""}
		for _, c := range columns {
			delta, ok := compare.Variants(v, baseline, c.metric, stats.Confidence)
			if !ok {
				cells = append(cells, missing)
				continue
			}
			unlike = cmp.Or(unlike, delta.Unlike)
			cells = append(cells, ratioText(&delta)+t.Note(delta.Change.Warnings...))
		}
		if cells[0] = n.of(v); unlike != "" {
			cells[0] += t.Note(unlike)
		}
		t.Add(cells...)
	}
	d.Heading(3, "Ratios to the baseline, paired by block [95 %]")
	d.Table(t)
	var thresholds []string
	for _, c := range columns {
		kind, _ := metrics.FindCompared(c.metric)
		thresholds = append(thresholds, c.head+" "+unit.Digits(100*kind.Threshold, 4)+" %")
	}
	d.Paragraph("Changes that matter are, at least: " + strings.Join(thresholds, ", ") + ".\n" +
		markText("blocks"))
}

// ratioText writes a ratio with its interval and the mark from verdictMark.
func ratioText(d *results.Delta) string {
	text := figure(d.Change, unit.None, unit.Plain(), true)
	if c := d.Change; isFraction(c.Center) {
		text = unit.Spread(c.Center, c.Lo, c.Hi, ratioNumber)
	}
	if m := verdictMark(d); m != "" {
		text += " " + m
	}
	return text
}

// kinds reports whether any trial that counts had restarts, and whether any had steps.
func kinds(variants []*results.Variant) (restarts, steps bool) {
	for _, v := range variants {
		for _, t := range v.ValidTrials() {
			steps = steps || len(t.Steps) > 0
			restarts = restarts || len(t.Restarts()) > 0
		}
	}
	return restarts, steps
}

// figureTable returns a table with a row per variant and a column per metric.
func figureTable(
	s *results.Scenario, variants []*results.Variant, columns []figureColumn,
) *document.Table {
	t := &document.Table{}
	fillFigures(t, s, variants, columns)
	return t
}

// fillFigures adds the columns and rows of figureTable.
func fillFigures(
	t *document.Table, s *results.Scenario, variants []*results.Variant, columns []figureColumn,
) {
	// Leave out columns for which no variant has a figure.
	columns = slices.DeleteFunc(slices.Clone(columns), func(c figureColumn) bool {
		return (c.text == nil || c.metric != "") &&
			!slices.ContainsFunc(variants, func(v *results.Variant) bool {
				_, ok := v.Summary[c.metric]
				return ok || c.why != nil && c.why(v) != ""
			})
	})
	n := newNames(s)
	t.Columns = []document.Column{document.Left("variant")}
	scales := make([]unit.Scale, len(columns))
	for i, c := range columns {
		scales[i] = c.scale(variants)
		column := document.Right(headIn(c.head, scales[i]))
		column.Tone = c.tone
		if m, ok := metrics.Find(c.metric); ok {
			column.About = m.Doc
		}
		t.Columns = append(t.Columns, column)
	}
	for _, v := range variants {
		cells := []string{n.of(v)}
		for i, c := range columns {
			cells = append(cells, c.cell(t, s, v, scales[i]))
		}
		t.Add(cells...)
	}
}

// trialCount writes the number of valid trials and of all trials, "8/10", with a note if too few
// are valid.
func trialCount(t *document.Table, s *results.Scenario, v *results.Variant) string {
	valid := len(v.ValidTrials())
	text := fmt.Sprintf("%d/%d", valid, len(v.Trials))
	if valid < s.MinValid {
		text += t.Note(fmt.Sprintf("fewer valid trials than the %d that the scenario needs: its "+
			"figures decide nothing", s.MinValid))
	}
	return text
}

// capacityCell writes the capacity of which the variant's load is a share, even if no trial counts.
func capacityCell(_ *document.Table, _ *results.Scenario, v *results.Variant) string {
	if v.CapacityPerSecond == nil {
		return missing
	}
	return unit.Number(*v.CapacityPerSecond)
}

// ofWorkers returns a function that writes a metric that is a number of workers: "1 of 3".
func ofWorkers(metric string) func(*document.Table, *results.Scenario, *results.Variant) string {
	return func(_ *document.Table, _ *results.Scenario, v *results.Variant) string {
		s, ok := v.Summary[metric]
		if !ok {
			return missing
		}
		return fmt.Sprintf("%g of %d", s.Center, len(v.ValidTrials()[0].Workers))
	}
}

func restartCount(_ *document.Table, _ *results.Scenario, v *results.Variant) string {
	n := 0
	for _, t := range v.ValidTrials() {
		n += len(t.Restarts())
	}
	return count(int64(n))
}

// neverSent returns the number of attempts that the load never sent in those trials of the variant
// that count.
func neverSent(v *results.Variant) (sum int64) {
	for _, t := range v.ValidTrials() {
		n, _ := t.Unsent()
		sum += n
	}
	return sum
}

// neverSentCount writes the result of neverSent, or missing unless all trials that count recorded
// the number.
func neverSentCount(v *results.Variant) string {
	valid := v.ValidTrials()
	unknown := func(t *results.Trial) bool { _, ok := t.Unsent(); return !ok }
	if len(valid) == 0 || slices.ContainsFunc(valid, unknown) {
		return missing
	}
	return count(neverSent(v))
}

// halfOpenCount writes the number of lost handshakes among those that were delayed on purpose:
// "2/8".
func halfOpenCount(_ *document.Table, _ *results.Scenario, v *results.Variant) string {
	var h results.HalfOpen
	for _, t := range v.ValidTrials() {
		for _, s := range t.Steps {
			if s.HalfOpen != nil {
				h.Held, h.Lost = h.Held+s.HalfOpen.Held, h.Lost+s.HalfOpen.Lost
			}
		}
	}
	if h.Held == 0 {
		return missing
	}
	return count(h.Lost) + "/" + count(h.Held)
}

// unit returns the unit of the column's metric.
func (c figureColumn) unit() unit.Unit { return metrics.UnitOf(c.metric) }

// scale returns the scale for the whole column.
func (c figureColumn) scale(variants []*results.Variant) unit.Scale {
	var values []float64
	for _, v := range variants {
		if s, ok := v.Summary[c.metric]; ok {
			values = append(values, s.Center)
			if s.Method == results.MethodRuleOfThree && s.Hi != nil {
				values = append(values, *s.Hi)
			}
		}
		if s, ok := v.Summary[c.beside]; ok {
			values = append(values, s.Center)
		}
	}
	return c.unit().Scale(values...)
}

// cell writes the variant's figure and the marks of its warnings.
func (c figureColumn) cell(
	t *document.Table, scenario *results.Scenario, v *results.Variant, in unit.Scale,
) string {
	if c.text != nil {
		return c.text(t, scenario, v)
	}
	// An older run may have stored a figure that is not printed now.
	if c.why != nil && c.why(v) != "" {
		return missing + t.Note(c.why(v))
	}
	s, ok := v.Summary[c.metric]
	if !ok {
		return missing
	}
	var text string
	if beside, ok := v.Summary[c.beside]; ok {
		text = in.Of(s.Center) + " ± " + in.Of(beside.Center)
		if c.interval && s.Lo != nil && s.Hi != nil {
			text += " [" + in.Of(*s.Lo) + ", " + in.Of(*s.Hi) + "]"
		}
	} else {
		text = figure(s, c.unit(), in, c.interval)
	}
	warnings := s.Warnings
	if c.unnoted {
		return text
	}
	if !c.interval && s.Method == results.MethodNone && len(warnings) > 0 {
		warnings = warnings[1:] // the first says why the figure has no interval
	}
	return text + t.Note(warnings...)
}

// causeBlocks adds the causes of lost attempts and the evidence for these causes.
func causeBlocks(d *document.Document, s *results.Scenario, variants []*results.Variant) {
	causes := s.Causes()
	if len(causes) == 0 {
		return
	}
	n := newNames(s)
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Right("attempts"), document.Right("lost"),
	}}
	for _, c := range causes {
		t.Columns = append(t.Columns, document.Right(c))
		if c == cause.Client {
			t.Columns = append(t.Columns, document.Right("of these\nnever sent"))
		}
	}
	t.Columns = append(t.Columns, document.Right("known from\nkernel/counter/worker/client"))
	for _, v := range variants {
		if len(v.ValidTrials()) == 0 {
			cells := slices.Repeat([]string{missing}, len(t.Columns))
			cells[0] = n.of(v)
			t.Add(cells...)
			continue
		}
		l := results.Total(v.ValidTrials())
		cells := []string{n.of(v), count(l.Attempts), count(l.Lost)}
		for _, c := range causes {
			cells = append(cells, count(l.LostByCause[c]))
			if c == cause.Client {
				cells = append(cells, neverSentCount(v))
			}
		}
		known := []string{count(l.Evidence.Kernel), count(l.Evidence.Counter),
			count(l.Evidence.Worker), count(l.Evidence.Client)}
		t.Add(append(cells, strings.Join(known, "/"))...)
	}
	d.Heading(3, "Lost by cause")
	d.Table(t)
	if text := inferredText(variants); text != "" {
		d.Paragraph(text)
	}
}

// inferredText names the variants whose causes are inferred, because the kernel's events were not
// observed or some events were missed.
func inferredText(variants []*results.Variant) string {
	var lines []string
	dropped := int64(0)
	for _, v := range variants {
		for _, t := range v.ValidTrials() {
			if t.Trace == nil {
				continue
			}
			dropped += t.Trace.Dropped + t.Trace.Unheard
			if why := t.Trace.Unavailable; why != "" {
				if line := "Causes are inferred, the kernel was not asked: " + why +
					"."; !slices.Contains(lines, line) {
					lines = append(lines, line)
				}
			}
			if len(t.Trace.Missing) > 0 {
				if line := "This kernel has no events for " + strings.Join(t.Trace.Missing, ", ") +
					"; see 'doctor'."; !slices.Contains(lines, line) {
					lines = append(lines, line)
				}
			}
		}
	}
	if dropped > 0 {
		lines = append(lines, fmt.Sprintf("%s of the kernel were missed: those causes "+
			"are inferred.", unit.Plural(dropped, "event")))
	}
	return strings.Join(lines, "\n")
}

// outsideBlocks lists what the figures leave out: invalid trials and skipped variants.
func outsideBlocks(d *document.Document, s *results.Scenario) {
	var invalid, skipped []string
	n := newNames(s)
	for _, v := range ordered(s) {
		name := n.of(v)
		if v.SkippedReason != nil {
			skipped = append(skipped, name+": "+*v.SkippedReason)
		}
		for _, text := range InvalidTexts(v) {
			invalid = append(invalid, name+", "+text)
		}
	}
	if len(invalid) > 0 {
		d.Heading(3, "Invalid trials, in no figure above")
		d.List(invalid)
	}
	if len(skipped) > 0 {
		d.Heading(3, "Skipped variants")
		d.List(skipped)
	}
}

// InvalidTexts gives the number of the variant's invalid trials, and lists the reasons.
func InvalidTexts(v *results.Variant) []string {
	var texts []string
	_, reasons := v.InvalidTrials()
	for _, r := range reasons {
		example := ""
		if r.Varied {
			example = "for example "
		}
		texts = append(texts, fmt.Sprintf("%d of %s invalid: %s%s", r.Trials,
			unit.Plural(len(v.Trials), "trial"), example, r.Reason))
	}
	return texts
}

// gateBlocks adds the outcomes of the gates.
func gateBlocks(d *document.Document, s *results.Scenario) {
	if len(s.Gates) == 0 {
		return
	}
	n := newNames(s)
	t := &document.Table{Columns: []document.Column{
		document.Left("gate").Toned(verdictTone), document.Left("variant"),
		document.Left("expected"), document.Left("figures"),
	}}
	for _, g := range s.Gates {
		outcome := g.Outcome
		if g.Soft {
			outcome += " (soft)"
		}
		t.Add(outcome, n.ofLabels(g.Labels), g.Expect, g.Note)
	}
	d.Heading(3, "Gates")
	if s.Void != "" {
		d.Paragraph("VOID: " + s.Void + ". The machine did not repeat itself, so the gates " +
			"decide nothing.")
	}
	d.Table(t)
	if text := AAText(s.AA); text != "" {
		d.Paragraph(text)
	}
}

// AAText describes the comparison of the baseline with its A/A arm.
func AAText(aa []*results.Delta) string {
	var lines []string
	for _, delta := range aa {
		text := delta.String()
		if m := verdictMark(delta); m != "" {
			text += " " + m
		}
		lines = append(lines, text)
	}
	if len(lines) == 0 {
		return ""
	}
	return "A/A, the baseline measured twice: " + strings.Join(lines, "; ") + "."
}
