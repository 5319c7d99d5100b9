package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios/vocabulary"
)

// answers returns sentences about what the scenario decided, made from its figures, the best
// outcome first. They do not mention variants with too few valid trials. A scenario that was
// stopped or is void decided nothing.
func answers(s *results.Scenario) []string {
	if s.Void != "" || s.Stopped != "" {
		return nil
	}
	a := &answer{names: newNames(s), scenario: s}
	for _, v := range ordered(s) {
		if v.SkippedReason == nil && !v.IsAA() {
			a.all = append(a.all, v)
			if len(v.ValidTrials()) >= neededTrials(s) {
				a.decided = append(a.decided, v)
			}
		}
	}
	if len(a.decided) == 0 {
		return nil
	}
	restarts, _ := kinds(a.decided)
	a.step = stepPhrase(a.decided, restarts)
	if a.has(metrics.HighestRate) {
		return a.ratios(ratioQuestion{
			metric: metrics.HighestRate, what: "the highest rate with nothing dropped",
			write: func(x float64) string { return unit.Digits(x, 3) + "/s" },
		})
	}
	if sought := searchFor(a.decided); sought != nil {
		return a.found(sought)
	}
	lines := a.losses(restarts)
	lines = append(lines, a.newcomers()...)
	lines = append(lines, a.sharing()...)
	if !restarts && !a.has(metrics.DroppedPerStep) && !a.has(metrics.Serving) &&
		!a.has(metrics.NewcomerP99) {
		lines = append(lines, a.ratios(ratioQuestion{
			metric: metrics.ResponseP99, what: "p99",
			write: func(x float64) string { return duration(x) },
		})...)
	}
	return lines
}

// neededTrials returns the number of valid trials that a variant needs to be mentioned in a
// sentence. In a quick look, it is the number of trials, if that is smaller than min_valid.
func neededTrials(s *results.Scenario) int { return max(1, min(s.MinValid, max(1, s.Trials))) }

// An answer writes the sentences about a scenario.
type answer struct {
	names    names
	scenario *results.Scenario
	all      []*results.Variant // variants that were run, in the order of reports, without A/A arm
	decided  []*results.Variant // those variants that have enough valid trials
	step     string             // what the scenario's steps do; "": there are none
}

// has reports whether any decided variant has the metric.
func (a *answer) has(metric string) bool {
	return slices.ContainsFunc(a.decided, func(v *results.Variant) bool {
		_, ok := v.Summary[metric]
		return ok
	})
}

// stepPhrase describes the first step that restarts workers or, if restarts is false, the first
// step. It returns "" if there are no steps.
func stepPhrase(variants []*results.Variant, restarts bool) string {
	for _, v := range variants {
		for _, t := range v.ValidTrials() {
			for _, step := range t.Steps {
				if !restarts || step.Restarts() {
					return cmp.Or(vocabulary.Phrase("timeline[].do", string(step.Do)),
						string(step.Do))
				}
			}
		}
	}
	return ""
}

// A loss is the number of attempts that a variant lost, per restart, step or attempt.
type loss struct {
	variant *results.Variant
	none    bool
	of      string           // what losses are counted by: restart, step or attempt
	n       int              // number of restarts, steps or attempts
	total   int64            // attempts dropped in them
	rate    *results.Summary // dropped per restart, step or attempt; nil: unknown
}

// losses describes the losses of each variant: first the variants that lost nothing, then the
// others, the smallest loss first. Variants whose losses do not differ significantly share a
// sentence.
func (a *answer) losses(restarts bool) (lines []string) {
	service := a.has(metrics.DroppedPerStep)
	metric, of := metrics.DroppedPerAttempt, "attempt"
	switch {
	case restarts:
		metric, of = metrics.DroppedPerRestart, "restart"
	case service:
		metric, of = metrics.DroppedPerStep, "step"
	}
	var none, few, some []loss
	for _, v := range a.decided {
		switch l := lossIn(v, metric, of); {
		case l.n == 0:
		case l.none:
			none = append(none, l)
		case l.rate == nil || l.rate.TooFew:
			few = append(few, l)
		default:
			some = append(some, l)
		}
	}
	for _, group := range counted(none) {
		lines = append(lines, a.lostNone(group, of == "attempt" && len(some)+len(few) == 0))
	}
	for _, group := range alike(some) {
		lines = append(lines, a.lostSome(group))
	}
	for _, l := range few {
		lines = append(lines,
			sentence(fmt.Sprintf("%s lost %d in %s: too few to say how many.",
				a.subject([]loss{l}), l.total, unit.Plural(l.n, l.of))))
	}
	return lines
}

// lossIn returns the variant's loss according to the metric, which is per restart, step or attempt.
func lossIn(v *results.Variant, metric, of string) loss {
	l := loss{variant: v, of: of}
	s, ok := v.Summary[metric]
	if !ok && of == "step" { // not behind a Service, while others are
		l.of = "attempt"
		s, ok = v.Summary[metrics.DroppedPerAttempt]
	}
	if ok {
		l.rate = &s
	}
	for _, t := range v.ValidTrials() {
		switch l.of {
		case "restart":
			for k := range t.Steps {
				if t.Steps[k].Restarts() {
					n, _ := t.StepDropped(k)
					l.n, l.total = l.n+1, l.total+n
				}
			}
		case "step":
			l.n, l.total = l.n+len(t.Steps), l.total+t.Dropped
		default:
			l.n, l.total = l.n+int(t.Attempts), l.total+t.Dropped
		}
	}
	l.none = l.total == 0 && (l.rate == nil || l.rate.Center == 0)
	return l
}

// counted divides losses into groups that are counted by the same thing.
func counted(all []loss) (groups [][]loss) {
	for _, l := range all {
		same := func(group []loss) bool { return group[0].of == l.of }
		if i := slices.IndexFunc(groups, same); i >= 0 {
			groups[i] = append(groups[i], l)
		} else {
			groups = append(groups, []loss{l})
		}
	}
	return groups
}

// alike divides losses, which are sorted, into groups. Within a group, the interval of each loss
// contains the figure of every other loss.
func alike(all []loss) (groups [][]loss) {
	for _, l := range all {
		last := len(groups) - 1
		same := func(other loss) bool {
			return l.of == other.of && contains(l.rate, other.rate) && contains(other.rate, l.rate)
		}
		differs := func(other loss) bool { return !same(other) }
		if last >= 0 && !slices.ContainsFunc(groups[last], differs) {
			groups[last] = append(groups[last], l)
			continue
		}
		groups = append(groups, []loss{l})
	}
	return groups
}

// contains reports whether the interval of the first figure contains the second figure.
func contains(interval, figure *results.Summary) bool {
	return interval.Lo != nil && interval.Hi != nil &&
		*interval.Lo <= figure.Center && figure.Center <= *interval.Hi
}

// subject names the variants of the losses. If there are too many, it gives their number instead.
func (a *answer) subject(group []loss) string {
	subjects := a.list(group)
	if len(subjects) > mostSubjects {
		return fmt.Sprintf("%d of %s", len(group), unit.Plural(len(a.all), "variant"))
	}
	return enumerate(subjects)
}

// list returns the subjects for the variants of the losses, such as the ways in which their workers
// were stopped.
func (a *answer) list(group []loss) []string {
	variants := make([]*results.Variant, len(group))
	for i, l := range group {
		variants[i] = l.variant
	}
	return a.subjects(variants, func(c condition) string {
		if a.step == "" {
			return a.names.with(c)
		}
		return a.names.doing(c, a.step)
	})
}

// lost returns a sentence with the subject: byStep is what follows it if there are steps, otherwise
// if not.
func (a *answer) lost(subject, byStep, otherwise string) string {
	switch {
	case a.step != "":
		return sentence(subject + " " + byStep)
	case subject == "":
		return sentence(otherwise)
	}
	return sentence(subject + ", " + otherwise)
}

// subjects writes the conditions that select the variants. It leaves out repeated texts. If one of
// several conditions has no text, it gives the number of variants instead.
func (a *answer) subjects(
	variants []*results.Variant, write func(condition) string,
) (all []string) {
	for _, c := range a.names.conditions(variants, a.all) {
		if text := write(c); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	if len(all) > 1 && slices.Contains(all, "") {
		return []string{"in " + unit.Plural(len(variants), "variant")}
	}
	return all
}

// lostNone returns the sentence about variants that lost nothing, with the bound that this implies.
// alone is true if no variant lost anything; the sentence then gives the total number of attempts.
func (a *answer) lostNone(group []loss, alone bool) string {
	of := group[0].of
	least, most := group[0].n, group[0].n
	total := 0
	for _, l := range group {
		least, most = min(least, l.n), max(most, l.n)
		total += l.n
	}
	if alone {
		return fmt.Sprintf("No request was lost: 0 of %s.", thousands(int64(total)))
	}
	seen := unit.Plural(most, of)
	if least < most {
		seen = fmt.Sprintf("%d to %s", least, seen)
	}
	if of == "attempt" {
		seen = thousands(int64(most)) + " requests"
		if least < most {
			seen = thousands(int64(least)) + " to " + seen
		}
	}
	if len(group) > 1 {
		seen += " each"
	}
	// With fewer than ten, the bound is too high to be useful.
	if least >= 10 && of != "attempt" {
		seen += fmt.Sprintf(" (at most 3 in %d)", least)
	}
	if subjects := a.list(group); len(subjects) > 2 && len(subjects) <= mostSubjects {
		by := " by "
		if strings.HasPrefix(subjects[0], "with ") { // a condition, not a way to restart
			by = " "
		}
		return "None was lost in " + seen + by + enumerate(subjects) + "."
	}
	return a.lost(a.subject(group), "lost none in "+seen, "nothing was lost in "+seen) + "."
}

// lostSome returns the sentence about the losses of a group from alike.
func (a *answer) lostSome(group []loss) string {
	lose := "loses"
	if len(a.list(group)) > 1 {
		lose = "lose"
	}
	first, last := group[0].rate, group[len(group)-1].rate
	lo, hi := math.Inf(1), math.Inf(-1)
	known := true
	for _, l := range group {
		if known = known && l.rate.Lo != nil && l.rate.Hi != nil; known {
			lo, hi = min(lo, *l.rate.Lo), max(hi, *l.rate.Hi)
		}
	}
	in, unitText := unit.Plain(), "requests per "+group[0].of
	if group[0].of == "attempt" {
		in, unitText = unit.Percent(), "% of the requests"
	}
	all := results.Summary{Center: first.Center}
	if known {
		all.Lo, all.Hi = &lo, &hi
	}
	write := in.Digits(all.Center, all.Lo, all.Hi)
	text := write(first.Center)
	if to := write(last.Center); to != text {
		text += " to " + to
	}
	if text == "1" {
		unitText = strings.Replace(unitText, "requests", "request", 1)
	}
	text += " " + unitText
	if known {
		text += " [" + write(lo) + ", " + write(hi) + "]"
	}
	return a.lost(a.subject(group), lose+" "+text, text+" are lost") + outage(group) + "."
}

// outage describes the length of the outages of variants behind a Service. It returns "" for other
// variants.
func outage(group []loss) string {
	var least, most float64
	for i, l := range group {
		s, ok := l.variant.Summary[metrics.Outage]
		if _, service := l.variant.Summary[metrics.DroppedPerStep]; !ok || !service {
			return ""
		}
		if i == 0 {
			least, most = s.Center, s.Center
		}
		least, most = min(least, s.Center), max(most, s.Center)
	}
	from, to := duration(least), duration(most)
	switch {
	case most == 0:
		return ""
	case least == 0:
		return ", in outages of up to " + to
	case from != to:
		return ", in outages of " + from + " to " + to
	}
	return ", in an outage of " + to
}

// newcomers describes the time until an added worker had its fair share, and the cost of its start
// for clients.
func (a *answer) newcomers() (lines []string) {
	for _, v := range a.decided {
		share, ok := v.Summary[metrics.FairShare]
		own, hasOwn := v.Summary[metrics.NewcomerP99]
		others, hasOthers := v.Summary[metrics.OthersP99]
		if !ok && !hasOwn {
			continue
		}
		var parts []string
		if ok {
			parts = append(parts, "had its fair share after "+duration(share.Center))
		}
		if hasOwn && hasOthers {
			parts = append(parts, fmt.Sprintf("answered with p99 %s, beside %s of the others",
				duration(own.Center), duration(others.Center)))
		}
		lines = append(lines, a.withSubject(v, "the new worker "+strings.Join(parts, " and ")))
	}
	return lines
}

// sharing describes the number of workers that got connections, for variants that measured it.
func (a *answer) sharing() (lines []string) {
	for _, v := range a.decided {
		if serving, ok := v.Summary[metrics.Serving]; ok {
			all := len(v.ValidTrials()[0].Workers)
			lines = append(lines, a.withSubject(v, fmt.Sprintf("%.0f of %s got connections",
				serving.Center, unit.Plural(all, "worker"))))
		}
	}
	return lines
}

// withSubject returns a sentence that begins with the variant's labels and continues with text.
func (a *answer) withSubject(v *results.Variant, text string) string {
	if with := enumerate(a.subjects([]*results.Variant{v},
		func(c condition) string { return a.names.with(c) })); with != "" {
		text = with + ", " + text
	}
	return sentence(text) + "."
}

// A ratioQuestion is a metric in which variants are compared by ratio, and how to write it.
type ratioQuestion struct {
	metric, what string
	write        func(float64) string
}

// A ratio compares a metric of a variant with the same metric of the variant returned by
// answer.like.
type ratio struct {
	variant, like *results.Variant
	delta         results.Delta
}

// ratios compares the metric of each variant with that of the variant from like. Variants that
// differ come first, the best of them first. The others follow, in one sentence for each verdict.
func (a *answer) ratios(q ratioQuestion) (lines []string) {
	var differing []ratio
	alike := map[string][]ratio{}
	for _, v := range a.decided {
		like := a.like(v)
		if like == nil {
			continue
		}
		delta, ok := compare.Variants(v, like, q.metric, stats.Confidence)
		if !ok {
			continue
		}
		r := ratio{v, like, delta}
		if delta.Outcome == results.DeltaNone {
			alike[delta.Verdict] = append(alike[delta.Verdict], r)
		} else {
			differing = append(differing, r)
		}
	}
	metric, _ := metrics.Find(q.metric)
	slices.SortStableFunc(differing, func(x, y ratio) int {
		order := cmp.Compare(x.delta.Change.Center, y.delta.Change.Center)
		if metric.Better == metrics.Higher {
			order = -order
		}
		return order
	})
	for _, r := range differing {
		c := r.delta.Change
		times := "times that"
		if isFraction(c.Center) {
			times = "of that"
		}
		text := fmt.Sprintf("%s is %s %s%s: %s against %s", q.what,
			unit.Spread(c.Center, c.Lo, c.Hi, ratioNumber), times, a.against(r),
			q.write(r.variant.Summary[q.metric].Center), q.write(r.like.Summary[q.metric].Center))
		if r.delta.Unlike != "" {
			text += " (" + r.delta.Unlike + ")"
		}
		lines = append(lines, a.withSubject(r.variant, text))
	}
	for _, verdict := range []string{results.VerdictSame, results.VerdictUnknown} {
		if group := alike[verdict]; len(group) > 0 {
			lines = append(lines, a.noDifference(q, verdict, group))
		}
	}
	return lines
}

// fewMore is the largest number of further trials that a sentence suggests. Users do not run more
// by hand.
const fewMore = 200

// noDifference returns the sentence about variants whose metric is the same, or not shown to
// differ.
func (a *answer) noDifference(q ratioQuestion, verdict string, group []ratio) string {
	variants := make([]*results.Variant, len(group))
	least, most, more := math.Inf(1), math.Inf(-1), 0
	for i, r := range group {
		variants[i] = r.variant
		least, most = min(least, r.delta.Change.Center), max(most, r.delta.Change.Center)
		if r.delta.MoreTrials != nil {
			more = max(more, *r.delta.MoreTrials)
		}
	}
	against := a.against(group[0])
	other := func(r ratio) bool { return r.like != group[0].like }
	differ := func(r ratio) bool { return a.against(r) != against }
	switch {
	case !slices.ContainsFunc(group, differ):
	case slices.ContainsFunc(group, other):
		against = " of its like"
	default:
		against = a.treatment(group[0].like)
	}
	c := group[0].delta.Change
	times := unit.Spread(c.Center, c.Lo, c.Hi, ratioNumber)
	if len(group) > 1 {
		times = ratioNumber(least)
		if to := ratioNumber(most); to != times {
			times += " to " + to
		}
	}
	subjects := a.subjects(variants, func(c condition) string { return a.names.with(c) })
	subject := enumerate(subjects)
	if len(subjects) > mostSubjects {
		subject = "in " + unit.Plural(len(group), "variant")
	}
	if subject == "" { // no condition tells them from the variants with which they are compared
		subject = "in the other " + strings.TrimPrefix(unit.Plural(len(group), "variant"),
			strconv.Itoa(len(group))+" ")
	}
	if verdict == results.VerdictSame {
		percent := unit.Digits(100*group[0].delta.Threshold, 2)
		return sentence(fmt.Sprintf("%s, %s is within %s %% of that%s: %s times.",
			subject, q.what, percent, against, times))
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, r := range group {
		if r.delta.Change.Lo == nil || r.delta.Change.Hi == nil {
			return sentence(fmt.Sprintf("%s, %s cannot be compared with that%s: there are too few "+
				"trials.", subject, q.what, against))
		}
		lo, hi = min(lo, *r.delta.Change.Lo), max(hi, *r.delta.Change.Hi)
	}
	text := fmt.Sprintf("%s, %s is %s to %s times that%s: no difference is shown", subject, q.what,
		ratioNumber(lo), ratioNumber(hi), against)
	if more > 0 && more <= fewMore {
		text += fmt.Sprintf("; about %s would tell", unit.Plural(more, "more trial"))
	}
	return sentence(text) + "."
}

// against describes the variant with which a ratio compares, by the labels in which the two
// variants differ.
func (a *answer) against(r ratio) string {
	labels := labelsWith(r.like, func(key string) bool {
		return slices.Contains(a.names.varying, key) && r.variant.Labels[key] != r.like.Labels[key]
	})
	if with := a.names.with(labels); with != "" {
		return " " + with
	}
	return " of the baseline"
}

// treatment describes the ways in which the workers of the baseline, or of its like, listen and
// stop.
func (a *answer) treatment(v *results.Variant) string {
	with := a.names.with(labelsWith(v, func(key string) bool {
		return slices.Contains(treatments, key) && slices.Contains(a.names.varying, key)
	}))
	if with == "" {
		return " of the baseline"
	}
	return " " + with
}

// treatments are the labels for the ways in which workers listen and stop. All other labels are
// conditions, under which treatments are compared.
var treatments = []string{"sockets", "stop", "selector", "accept", "server.kind", "pin"}

// like returns the variant with which v is compared: of the variants with the baseline's
// treatments, the one whose conditions have most in common with v's. It returns nil if v is the
// baseline. It also returns nil if v has the baseline's treatments, but other variants do not:
// comparing conditions is then not the scenario's subject.
func (a *answer) like(v *results.Variant) *results.Variant {
	baseline := a.scenario.BaselineVariant()
	if baseline == nil || v == baseline || len(baseline.ValidTrials()) == 0 {
		return nil
	}
	treated := func(v *results.Variant) string {
		return results.LabelString(labelsWith(v,
			func(key string) bool { return slices.Contains(treatments, key) }))
	}
	if treated(v) == treated(baseline) {
		differs := func(other *results.Variant) bool { return treated(other) != treated(baseline) }
		if slices.ContainsFunc(a.all, differs) {
			return nil
		}
		return baseline
	}
	best, most := baseline, -1
	for _, other := range append([]*results.Variant{baseline}, a.decided...) {
		if treated(other) != treated(baseline) {
			continue
		}
		same := 0
		for _, key := range a.names.varying {
			if !slices.Contains(treatments, key) && other.Labels[key] == v.Labels[key] {
				same++
			}
		}
		if same > most {
			best, most = other, same
		}
	}
	return best
}

// ratioNumber writes a ratio with two significant digits: "1.2", or as a fraction "1/530".
func ratioNumber(x float64) string {
	if isFraction(x) {
		return "1/" + unit.Digits(1/x, 2)
	}
	return unit.Digits(x, 2)
}

// isFraction reports whether a ratio is written as a fraction: 0.0019 is hard to read.
func isFraction(x float64) bool { return 0 < x && x < 0.1 }

// duration writes a time in the most suitable unit: "10.2 ms".
func duration(ns float64) string {
	in := unit.Nanoseconds.Scale(ns)
	if ns >= 1e9 {
		in = unit.Seconds()
	}
	return unit.Digits(ns/in.Factor, 3) + " " + in.Name
}

// thousands writes a count with commas between thousands.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
