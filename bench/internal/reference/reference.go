// Package reference explains every word that users meet in scenarios, commands and reports. It
// gathers the tables of terms, causes, settings, values, metrics, columns and claims. From them it
// makes docs/reference.md, docs/glossary.md and the answers of 'reuseport-bench explain'. It
// defines no word itself.
package reference

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"reuseport-bench/results/cause"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report"
	"reuseport-bench/results/terms"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

// A Command is a subcommand of the program.
type Command struct {
	Name  string // the name as typed, such as "completion bash"
	Use   string // the name with the arguments
	Doc   string // a description in one line
	Flags []Flag
}

// A Flag is a flag of a command.
type Flag struct {
	Name    string // the name without dashes
	Type    string // type of the value; "" for a switch
	Default string // the default; "" for the zero value
	Doc     string
}

// A Status is an exit status of the program.
type Status struct {
	Code int
	Doc  string
}

// The kinds of entries that are not values of a setting, in the order in which they are listed.
const (
	kindTerm    = "term"
	kindCause   = "cause of a lost attempt"
	kindSetting = "setting"
	kindSection = "group of settings"
	kindMetric  = "metric"
	kindCount   = "count"
	kindColumn  = "column"
	kindClaim   = "claim"
	kindStatus  = "exit status"
	kindCommand = "command"
)

// A Fact is a short statement about a word, such as its range.
type Fact struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// An Entry explains one word.
type Entry struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Also lists other spellings of Name.
	Also    []string `json:"also,omitempty"`
	Doc     string   `json:"doc"`
	Facts   []Fact   `json:"facts,omitempty"`
	Related []string `json:"related,omitempty"`
	Source  string   `json:"source,omitempty"`

	// setting is the path of the setting to which a value belongs. It is "" in other entries.
	setting string
}

// fact adds a fact unless text is empty.
func (e *Entry) fact(name, text string) {
	if text != "" {
		e.Facts = append(e.Facts, Fact{name, text})
	}
}

// Entries returns an entry for every word, grouped by kind.
func Entries(commands []Command, statuses []Status) []Entry {
	return slices.Concat(
		termEntries(), causeEntries(), valueEntries(), settingEntries(), metricEntries(),
		countEntries(), columnEntries(), claimEntries(), statusEntries(statuses),
		commandEntries(commands),
	)
}

func termEntries() (all []Entry) {
	for _, t := range terms.All() {
		e := Entry{
			Kind: kindTerm, Name: t.Name, Also: t.Also, Doc: t.Doc, Related: t.Related,
			Source: t.Source,
		}
		e.fact("unit", t.Unit)
		all = append(all, e)
	}
	return all
}

func causeEntries() (all []Entry) {
	for _, c := range cause.All() {
		e := Entry{Kind: kindCause, Name: c.Name, Doc: c.Means, Source: c.Source}
		e.fact("to do", c.Do)
		e.fact("seen in", `the table "Lost by cause", report --losses, and lost_by_cause.`+c.Name+
			" in run.json and gates")
		e.Related = []string{"dropped", "known from"}
		if c.Name == cause.Client {
			e.Related = []string{"lost", "never sent"}
		}
		all = append(all, e)
	}
	return all
}

// valueEntries explains the values of the settings in scenario files.
func valueEntries() (all []Entry) {
	for _, w := range vocabulary.Words() {
		for _, v := range w.Values {
			e := Entry{
				Kind: w.Noun, Name: v.Name, Doc: sentence(v.Doc), Source: v.Source,
				Related: []string{w.Setting}, setting: w.Setting,
			}
			key := w.Setting
			if i := strings.LastIndex(key, "]."); i >= 0 {
				key = key[i+2:]
			} else {
				e.Also = []string{w.Setting + "=" + v.Name}
			}
			e.fact("write", key+": "+v.Name)
			e.fact("needs", strings.Join(v.Needs, "; "))
			all = append(all, e)
		}
	}
	return all
}

func settingEntries() (all []Entry) {
	for _, k := range scenarios.Keys() {
		e := Entry{Kind: kindSetting, Name: k.Path, Also: slices.Clone(k.Kubernetes), Doc: k.Doc}
		if strings.HasPrefix(k.Type, "mapping") || k.Type == "list" {
			e.Kind = kindSection
		}
		e.fact("type", k.Type)
		e.fact("range", k.Range)
		e.fact("default", k.Default)
		e.fact("example", k.Example)
		e.fact("needs", k.Needs)
		var values []string
		for _, v := range k.Values {
			values = append(values, v.Name)
		}
		e.fact("values", strings.Join(values, ", "))
		e.fact("in Kubernetes", strings.Join(k.Kubernetes, ", "))
		if i := strings.LastIndex(k.Path, "]."); i >= 0 { // also "target" for "timeline[].target"
			e.Also = append(e.Also, k.Path[i+2:])
		}
		all = append(all, e)
	}
	return all
}

func metricEntries() (all []Entry) {
	for _, m := range metrics.All() {
		e := Entry{Kind: kindMetric, Name: m.Name, Doc: sentence(m.Doc)}
		e.fact("unit", m.Unit.Name())
		e.fact("better", m.Better)
		if m.Compared() {
			e.fact("change that matters", threshold(m))
		}
		e.fact("needs", joined("; ", m.Needs.String(), m.Loop.String()))
		e.fact("seen in", metricPlaces(m.Name))
		all = append(all, e)
	}
	return all
}

// threshold formats the smallest change of a metric that matters.
func threshold(m metrics.Metric) string {
	if m.Scale == "ratio" {
		return unit.Digits(100*m.Threshold, 4) + " % of the base"
	}
	return joined(" ", m.Unit.Text(m.Threshold, 4), differenceUnit(m.Unit))
}

// differenceUnit returns the name of the unit of a difference, or "" if Text already includes it.
func differenceUnit(u unit.Unit) string {
	if u == unit.Nanoseconds || u == unit.Count || u == unit.Share || u == unit.Probability {
		return ""
	}
	return u.Name()
}

// metricPlaces lists the places in which a metric appears.
func metricPlaces(name string) string {
	places := []string{"summary of run.json", "gates"}
	for _, c := range report.Columns() {
		if slices.Contains(c.Metrics, name) {
			places = append(places, `the column "`+c.Head+`"`)
		}
	}
	return strings.Join(places, ", ")
}

// countEntries explains the totals that gates can name, including the totals for single causes and
// phases.
func countEntries() (all []Entry) {
	for _, c := range metrics.Counts() {
		if c.Name == metrics.SentAfterClose { // this count is also a metric
			continue
		}
		e := Entry{Kind: kindCount, Name: c.Name, Doc: sentence(c.Doc)}
		e.fact("needs", c.Needs.String())
		e.fact("seen in", "gates, as a total over trials")
		if name, ok := strings.CutPrefix(c.Name, "lost_by_cause."); ok {
			e.Related = []string{name}
		}
		all = append(all, e)
	}
	return all
}

// columnEntries explains those columns of reports whose headings are not terms.
func columnEntries() (all []Entry) {
	for _, c := range report.Columns() {
		if _, isTerm := terms.Find(c.Head); isTerm {
			continue
		}
		e := Entry{Kind: kindColumn, Name: c.Head, Doc: c.Doc, Related: c.Metrics}
		var docs []string
		for _, name := range c.Metrics {
			m, _ := metrics.Find(name)
			docs = append(docs, sentence(m.Doc))
		}
		e.Doc = cmp.Or(e.Doc, strings.Join(docs, " Or: "))
		all = append(all, e)
	}
	return all
}

func claimEntries() (all []Entry) {
	for _, r := range claims.Rules() {
		e := Entry{Kind: kindClaim, Name: r.ID, Doc: r.Sentence}
		if slices.Contains(scenarios.Names(), r.Scenario) {
			e.fact("decided by", "reuseport-bench run "+r.Scenario)
		}
		e.fact("condition", sentence(r.Condition))
		e.fact("note", r.Note)
		e.Related = []string{"claim"}
		all = append(all, e)
	}
	return all
}

func statusEntries(statuses []Status) (all []Entry) {
	for _, s := range statuses {
		name := fmt.Sprint(s.Code)
		all = append(all, Entry{
			Kind: kindStatus, Name: name, Also: []string{"status " + name, "exit status " + name},
			Doc: sentence(s.Doc),
		})
	}
	return all
}

func commandEntries(commands []Command) (all []Entry) {
	for _, c := range commands {
		e := Entry{Kind: kindCommand, Name: c.Name, Doc: sentence(c.Doc)}
		e.fact("usage", "reuseport-bench "+c.Use)
		for _, f := range c.Flags {
			e.fact(f.usage(), f.Doc)
		}
		all = append(all, e)
	}
	return all
}

// usage returns the flag as typed on the command line, with the type of its value.
func (f Flag) usage() string {
	text := joined(" ", "--"+f.Name, f.Type)
	if f.Default != "" {
		text += " (" + f.Default + ")"
	}
	return text
}

// joined joins the texts that are not empty.
func joined(sep string, texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), sep)
}

// sentence turns a phrase into a sentence.
func sentence(phrase string) string {
	if phrase == "" {
		return ""
	}
	first, rest := phrase[:1], phrase[1:]
	if word, _, _ := strings.Cut(phrase, " "); !strings.ContainsAny(word, "_/.()") {
		first = strings.ToUpper(first)
	}
	return first + strings.TrimSuffix(rest, ".") + "."
}

// Find returns the entries for a word. It also accepts the word in the form in which reports print
// it, such as a column heading with its unit ("gap [ms]") or with a number ("none in 64"), and with
// other hyphens, underscores and spaces ("pre-stop").
func Find(entries []Entry, word string) []Entry {
	head := report.OneLine(word)
	for _, spelling := range []string{word, head, number().ReplaceAllString(head, "N")} {
		if found := find(entries, spelling); len(found) > 0 {
			return found
		}
	}
	joined := strings.NewReplacer("-", "", "_", "", " ", "").Replace
	for _, e := range entries {
		for _, name := range append([]string{e.Name}, e.Also...) {
			if strings.EqualFold(joined(name), joined(head)) {
				return find(entries, name)
			}
		}
	}
	return nil
}

// number matches a number at the end of a text, such as the number of restarts in a column heading.
var number = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b[0-9]+$`) })

// find returns the entries whose name is word, ignoring case. If there are no such entries, it
// returns the entries that have word in Also.
func find(entries []Entry, word string) []Entry {
	same := func(s string) bool { return strings.EqualFold(s, word) }
	var named, also []Entry
	for _, e := range entries {
		switch {
		case same(e.Name):
			named = append(named, e)
		case slices.ContainsFunc(e.Also, same):
			also = append(also, e)
		}
	}
	if len(named) > 0 {
		return named
	}
	if len(also) > 0 {
		return also
	}
	// For a label whose value has no entry of its own, such as load.rate=2000/s, find its setting.
	if setting, value, isLabel := strings.Cut(word, "="); isLabel && !strings.Contains(value, " ") {
		return find(entries, setting)
	}
	return nil
}

// Names returns all names and all other spellings of them, each once.
func Names(entries []Entry) []string {
	var names []string
	for _, e := range entries {
		names = append(append(names, e.Name), e.Also...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// A Kind lists the names of all entries of one kind.
type Kind struct {
	Name  string
	Names []string
}

// Kinds returns the names of the entries, grouped by kind. The values of each setting are a kind of
// their own.
func Kinds(entries []Entry) []Kind {
	var kinds []Kind
	for _, e := range entries {
		name := e.Kind
		if e.setting != "" {
			name = cmp.Or(e.setting, name)
		}
		i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == name })
		if i < 0 {
			i, kinds = len(kinds), append(kinds, Kind{Name: name})
		}
		kinds[i].Names = append(kinds[i].Names, e.Name)
	}
	return kinds
}
