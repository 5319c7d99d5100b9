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

// answers says what the scenario decided, in sentences made from its figures, the best outcome
// first. Variants with too few valid trials are in none of them. A scenario that was stopped or is
// void decided nothing.
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

// neededTrials returns how many valid trials a variant needs to be in a sentence. A quick look has
// no more than its trials.
func neededTrials(s *results.Scenario) int { return max(1, min(s.MinValid, max(1, s.Trials))) }

// An answer makes the sentences of a scenario.
type answer struct {
	names    names
	scenario *results.Scenario
	all      []*results.Variant // that were run, in the order of reports, without the A/A arm
	decided  []*results.Variant // those of them with enough valid trials
	step     string             // what the scenario's step does; "": it has none
}

// has reports whether a variant has the metric.
func (a *answer) has(metric string) bool {
	return slices.ContainsFunc(a.decided, func(v *results.Variant) bool {
		_, ok := v.Summary[metric]
		return ok
	})
}

// stepPhrase returns what the steps of the variants do: the first one that restarts workers, or the
// first; "" without steps.
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

// A loss is what a variant lost, in the unit that its scenario is about.
type loss struct {
	variant *results.Variant
	none    bool
	of      string           // what it counts by: restart, step or attempt
	n       int              // how many of those there were
	total   int64            // dropped in them
	rate    *results.Summary // dropped per one of them; nil: not known
}

// losses says what each variant lost: first those that lost nothing, then the others in order,
// those that the figures do not tell apart in one sentence.
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
	if len(none) > 0 {
		lines = append(lines, a.lostNone(none, of == "attempt" && len(some)+len(few) == 0))
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

// lossIn returns what the variant lost by the metric, which is per restart, step or attempt.
func lossIn(v *results.Variant, metric, of string) loss {
	l := loss{variant: v, of: of}
	s, ok := v.Summary[metric]
	if !ok && of == "step" { // one that is not behind a Service, beside others that are
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

// alike groups losses, which are in order, so that within a group each figure lies in the interval
// of each other.
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

// contains reports whether the interval of one figure contains the other.
func contains(interval, figure *results.Summary) bool {
	return interval.Lo != nil && interval.Hi != nil &&
		*interval.Lo <= figure.Center && figure.Center <= *interval.Hi
}

// subject names the variants of the losses; of too many it says how many there are.
func (a *answer) subject(group []loss) string {
	subjects := a.list(group)
	if len(subjects) > mostSubjects {
		return fmt.Sprintf("%d of %s", len(group), unit.Plural(len(a.all), "variant"))
	}
	return enumerate(subjects)
}

// list names what was done in the variants of the losses.
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

// lost makes a sentence of what was lost with a subject: of a step it is what loses it.
func (a *answer) lost(subject, byStep, otherwise string) string {
	switch {
	case a.step != "":
		return sentence(subject + " " + byStep)
	case subject == "":
		return sentence(otherwise)
	}
	return sentence(subject + ", " + otherwise)
}

// subjects writes the conditions that select the variants, each once.
func (a *answer) subjects(
	variants []*results.Variant, write func(condition) string,
) (all []string) {
	for _, c := range a.names.conditions(variants, a.all) {
		if text := write(c); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// lostNone says that variants lost nothing, and what that bounds. Alone: no variant lost anything,
// of all attempts.
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
	// Fewer bound too little.
	if least >= 10 && of != "attempt" {
		seen += fmt.Sprintf(" (at most 3 in %d)", least)
	}
	if subjects := a.list(group); len(subjects) > 2 && len(subjects) <= mostSubjects {
		return "None was lost in " + seen + " by " + enumerate(subjects) + "."
	}
	return a.lost(a.subject(group), "lost none in "+seen, "nothing was lost in "+seen) + "."
}

// lostSome says what variants lose that the figures do not tell apart.
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
		in, unitText = unit.Scale{Factor: 0.01}, "% of the requests"
	}
	all := results.Summary{Center: first.Center}
	if known {
		all.Lo, all.Hi = &lo, &hi
	}
	write := digits(all, in)
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

// outage says how long the outages of variants behind a Service are; "" of others.
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

// newcomers says how soon a worker that was added had its share, and who paid for its start.
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

// sharing says how many workers got connections, where they share an address or do not.
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

// withSubject puts what a variant is before what is said of it.
func (a *answer) withSubject(v *results.Variant, text string) string {
	if with := enumerate(a.subjects([]*results.Variant{v},
		func(c condition) string { return a.names.with(c) })); with != "" {
		text = with + ", " + text
	}
	return sentence(text) + "."
}

// A ratioQuestion asks by how much a metric of variants differs.
type ratioQuestion struct {
	metric, what string
	write        func(float64) string
}

// A ratio is a metric of a variant against that of the variant that it is like but for how its
// workers listen.
type ratio struct {
	variant, like *results.Variant
	delta         results.Delta
}

// ratios says how the variants' metric compares with the baseline's, the best first; those that
// are not told apart from it come last, in a sentence for each verdict.
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
		text := fmt.Sprintf("%s is %s times that%s: %s against %s", q.what,
			unit.Spread(c.Center, c.Lo, c.Hi, twoDigits), a.against(r),
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

// fewMore is the largest number of trials that a sentence asks for: nobody runs more by hand.
const fewMore = 200

// noDifference says of variants that their metric is the same, or is not shown to differ.
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
	times := unit.Spread(c.Center, c.Lo, c.Hi, twoDigits)
	if len(group) > 1 {
		times = twoDigits(least)
		if to := twoDigits(most); to != times {
			times += " to " + to
		}
	}
	subjects := a.subjects(variants, func(c condition) string { return a.names.with(c) })
	subject := enumerate(subjects)
	if len(subjects) > mostSubjects {
		subject = "in " + unit.Plural(len(group), "variant")
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
		twoDigits(lo), twoDigits(hi), against)
	if more > 0 && more <= fewMore {
		text += fmt.Sprintf("; about %s would tell", unit.Plural(more, "more trial"))
	}
	return sentence(text) + "."
}

// against names the variant that a ratio is against, by the labels in which the two differ.
func (a *answer) against(r ratio) string {
	labels := labelsWith(r.like, func(key string) bool {
		return slices.Contains(a.names.varying, key) && r.variant.Labels[key] != r.like.Labels[key]
	})
	if with := a.names.with(labels); with != "" {
		return " " + with
	}
	return " of the baseline"
}

// treatment names a variant by how its workers listen and stop.
func (a *answer) treatment(v *results.Variant) string {
	return " " + a.names.with(labelsWith(v, func(key string) bool {
		return slices.Contains(treatments, key) && slices.Contains(a.names.varying, key)
	}))
}

// treatments are the labels that say how workers listen and stop. The others are conditions, under
// which such ways are compared.
var treatments = []string{"sockets", "stop", "selector", "accept", "server.kind", "pin"}

// like returns the variant to compare v with: of those with the baseline's treatment the one whose
// conditions are most like v's. It is nil for v itself, and for variants that differ from the
// baseline only in conditions where other variants differ in treatment.
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

// twoDigits writes a ratio.
func twoDigits(x float64) string { return unit.Digits(x, 2) }

// duration writes a time in its best unit: "10.2 ms".
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
