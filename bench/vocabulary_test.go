package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/results/report"
	"reuseport-bench/results/summary"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

// The schema allows every value of every word, and each value can be planned, recorded, judged,
// stored and printed.
func TestVocabulary(t *testing.T) {
	schema := schemaValues(t)
	for _, word := range vocabulary.Words() {
		for _, value := range word.Values {
			t.Run(word.Setting+"="+value.Name, func(t *testing.T) {
				if !schema(word.Setting, value.Name) {
					t.Errorf("the schema does not allow %s: %s", word.Setting, value.Name)
				}
				s := wordScenario(t, word.Setting, value.Name)
				v := planWord(t, s)
				trial := judgeWord(t, v)
				reportWord(t, s, v, trial)
			})
		}
	}
}

// schemaValues returns a function that reports whether the schema allows a value of a setting.
func schemaValues(t *testing.T) func(setting, value string) bool {
	t.Helper()
	text, err := scenarios.Schema()
	if err != nil {
		t.Fatal(err)
	}
	type node struct {
		Properties map[string]*node
		Items      *node
		AnyOf      []*node
		Type       string
		Enum       []string
		Examples   []any // of what may also be another text
		Pattern    string
	}
	var allows func(at *node, value string) bool
	allows = func(at *node, value string) bool {
		if at.Pattern != "" {
			return regexp.MustCompile(at.Pattern).MatchString(value)
		}
		if at.Type == "string" && len(at.Enum) == 0 {
			return true // the schema allows any text
		}
		one := func(one *node) bool { return allows(one, value) }
		return slices.Contains(at.Enum, value) || slices.ContainsFunc(at.AnyOf, one) ||
			at.Enum == nil && slices.Contains(at.Examples, any(value))
	}
	var root node
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return func(setting, value string) bool {
		at := &root
		for key := range strings.SplitSeq(setting, ".") {
			name, list := strings.CutSuffix(key, "[]")
			if at = at.Properties[name]; list && at != nil {
				at = at.Items
			}
			if at == nil {
				return false
			}
		}
		return allows(at, value)
	}
}

// wordScenario returns a scenario with one variant that has the value for the setting, and the
// other settings that this value needs.
func wordScenario(t *testing.T, setting, value string) *scenarios.Scenario {
	t.Helper()
	base := map[string]string{"load.rate": "500/s", "load.duration": "1s"}
	set := func(pairs ...string) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] != "" {
				base[pairs[i]] = pairs[i+1]
			}
		}
	}
	inPods := func(path vocabulary.Path) { set("network", "cluster", "path", string(path)) }
	sockets := func(o vocabulary.Only[vocabulary.Sockets]) {
		if set("sockets", needed(o)); needed(o) == string(vocabulary.SocketsExclusive) {
			set("workers", "1")
		}
	}
	step, more := "", ""
	command := func() {
		set("server.kind", string(vocabulary.ServerCommand),
			"sockets", string(vocabulary.SocketsServer))
		more = "server: {start: x, restarts: {hup: [{signal: HUP}]}}\n"
	}
	switch setting {
	case "server.kind":
		if value == string(vocabulary.ServerCommand) {
			command()
		}
	case "path":
		if vocabulary.Path(value).Row().InPods {
			set("network", "cluster")
		}
	case "haproxy.checks", "haproxy.redispatch":
		set("path", string(vocabulary.PathHAProxy))
	case "dns.cache":
		inPods(vocabulary.PathDNS)
	case "kube.control", "kube.readiness":
		inPods(vocabulary.PathService)
	case "kube.proxy_mode":
		inPods(vocabulary.PathService)
		set("kube.control", string(vocabulary.ControlReal))
	case "kube.placement", "kube.users":
		inPods(vocabulary.PathPod)
	case "sockets":
		switch vocabulary.Sockets(value) {
		case vocabulary.SocketsExclusive:
			set("workers", "1")
		case vocabulary.SocketsServer:
			command()
		}
	case "accept":
		row := vocabulary.AcceptMode(value).Row()
		sockets(row.Sockets)
		set("server.kind", needed(row.Kind), "load.connections", needed(row.Connections))
	case "selector":
		row := vocabulary.Selector(value).Row()
		sockets(row.Sockets)
		set("pin", needed(row.Pin))
		switch row.Name {
		case vocabulary.SelectorWeighted:
			set("canary", "0.1")
		case vocabulary.SelectorSlowStart:
			set("server.cold", "5ms")
			step = "do: cold-start, for: 50ms"
		}
	case "stop":
		row := vocabulary.StopMode(value).Row()
		sockets(row.Sockets)
		set("server.kind", needed(row.Kind), "path", needed(row.Path))
	case "server.start":
		set("stop", string(vocabulary.StopClose))
		step = "do: replace"
	case "server.users":
		if value == string(vocabulary.UsersOther) {
			set("stop", string(vocabulary.StopClose))
			step = "do: replace"
		}
	case "stall":
		set("server.kind", needed(vocabulary.Stall(value).Row().Kind))
	case "server.work.distribution":
		set("server.work.sleep", "1ms")
		if value == string(vocabulary.DistributionBimodal) {
			set("server.work.slow", "9ms", "server.work.slow_share", "0.1")
		}
	case "load.pace":
		if value == string(vocabulary.PaceBurst) {
			set("load.burst", "10")
		}
	case "load.retry.on":
		set("load.retry.max", "1")
		if value == string(vocabulary.RetryNonIdempotent) {
			value = string(vocabulary.RetryUnanswered) + "+" + value
		}
	case "load.retry.jitter":
		set("load.retry.max", "1", "load.retry.backoff", "10ms")
	case "timeline[].do":
		kind := vocabulary.StepName(value).Kind()
		step = "do: " + value
		switch {
		case kind.Plain:
		case kind.Pods:
			inPods(vocabulary.PathService)
		default:
			command()
		}
		switch {
		case kind.Stops && kind.Name != vocabulary.StepRestart:
			set("stop", string(vocabulary.StopClose))
		case kind.Targets == vocabulary.TargetSocket:
			set("stop", string(vocabulary.StopInherit))
		}
		sockets(kind.Sockets)
		if kind.Lasts {
			step += ", for: 50ms"
		}
		if kind.Replicas {
			step += ", replicas: 3"
		}
		if kind.Targets != vocabulary.TargetNone {
			step += ", target: 0"
		}
		if kind.Name == vocabulary.StepColdStart {
			set("server.cold", "5ms")
		}
	}
	text := "name: word\nabout: One word.\n" + more
	if step != "" {
		text += "timeline: [{at: 500ms, " + step + "}]\n"
	}
	if setting != "timeline[].do" {
		set(setting, value)
	}
	// Each setting is an axis of the matrix, so the variant has a label for it.
	var axes []string
	for _, key := range slices.Sorted(maps.Keys(base)) {
		axes = append(axes, fmt.Sprintf("%s: [%s]", key, base[key]))
	}
	s, err := scenarios.Parse("word.yaml",
		[]byte(text+"matrix: [{"+strings.Join(axes, ", ")+"}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// needed returns the first value that o allows, or "" if o allows all values.
func needed[T ~string](o vocabulary.Only[T]) string {
	if len(o.Values) == 0 {
		return ""
	}
	return string(o.Values[0])
}

// planWord plans s and returns its only variant.
func planWord(t *testing.T, s *scenarios.Scenario) *plan.Variant {
	t.Helper()
	machine := plan.Machine{CPUs: []int{0, 1, 2, 3}}
	p, err := plan.New([]*scenarios.Scenario{s}, 1, machine, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var described bytes.Buffer
	if err := p.Describe(&described); err != nil {
		t.Fatal(err)
	}
	v := p.Scenarios[0].Variants[0]
	for key, value := range v.Labels {
		if !strings.Contains(described.String(), key+"="+value) {
			t.Errorf("the plan does not say %s=%s", key, value)
		}
	}
	for _, step := range v.Steps {
		if !strings.Contains(described.String(), string(step.Do)+" at ") {
			t.Errorf("the plan does not say %s", step.Do)
		}
	}
	return v
}

// headerKeys maps settings to their keys in the header of a recording.
var headerKeys = map[string]string{
	"network": "network", "family": "family", "path": "path", "sockets": "sockets",
	"accept": "accept",
	"stop":   "stop", "server.kind": "kind", "load.connections": "connections",
}

// judgeWord judges a trial of v without attempts, records it, reads the recording, and judges the
// recording. It returns the trial in its stored form.
func judgeWord(t *testing.T, v *plan.Variant) *results.Trial {
	t.Helper()
	first := v.Load[0]
	book, err := ledger.NewBook(ledger.Load{
		Shape: first.Shape, Processes: len(v.Load), Sources: first.Sources,
		Tries: first.Retry.Tries(),
	})
	if err != nil {
		t.Fatal(err)
	}
	book.Keep()
	facts := &ledger.Facts{Duration: v.Duration}
	for _, s := range v.Steps {
		at := ledger.Time(s.At)
		facts.Steps = append(facts.Steps, ledger.Step{Do: s.Do, For: s.For, At: at, Trigger: &at})
	}
	recording := book.Close(facts).Recording()
	recording.Header.Words = v.Words()
	recording.Header.Labels = v.Labels
	recording.Trial = &results.Trial{}
	for setting, key := range headerKeys {
		value, ok := v.Labels[setting]
		if ok && !slices.Contains(recording.Header.Words, key+": "+value) {
			t.Errorf("the header has no %s: %s; it has %q", key, value, recording.Header.Words)
		}
	}
	path := filepath.Join(t.TempDir(), "facts")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := recording.Write(file); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	read, err := ledger.ReadRecording(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(read.Header.Words, recording.Header.Words); diff != "" {
		t.Errorf("the header that was read (-got +want):\n%s", diff)
	}
	account, err := read.Judge()
	if err != nil {
		t.Fatal(err)
	}
	trial := &results.Trial{Valid: true, TimeoutNS: int64(v.Timeout), StartNS: int64(time.Second)}
	account.Fill(trial)
	for k := range v.Steps {
		trial.Steps = append(trial.Steps, account.Step(k))
	}
	return trial
}

// reportWord makes a run of the trial, and checks its report and its stored form.
func reportWord(t *testing.T, s *scenarios.Scenario, v *plan.Variant, trial *results.Trial) {
	t.Helper()
	measured := &results.Variant{Labels: v.Labels, Trials: []*results.Trial{trial}}
	summary.Fill(measured)
	run := &results.Run{
		SchemaVersion: results.SchemaVersion,
		Scenarios: []*results.Scenario{{
			Name: s.Name, Baseline: v.Labels, MinValid: 1, Variants: []*results.Variant{measured},
		}},
	}
	var text, file bytes.Buffer
	if err := report.Text(&text, run, report.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := report.JSON(&file, run, report.Options{}); err != nil {
		t.Fatal(err)
	}
	var read results.Run
	if err := json.Unmarshal(file.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	again := read.Scenarios[0].Variants[0]
	if diff := cmp.Diff(again.Labels, map[string]string(v.Labels)); diff != "" {
		t.Errorf("labels in run.json (-got +want):\n%s", diff)
	}
	for key, value := range v.Labels {
		if !strings.Contains(text.String(), key+"="+value) {
			t.Errorf("the report does not say %s=%s:\n%s", key, value, text.String())
		}
	}
	restarts := 0
	for k, step := range v.Steps {
		if got := again.Trials[0].Steps[k].Do; got != step.Do {
			t.Errorf("step %d in run.json is %s, want %s", k, got, step.Do)
		}
		if step.Do.Kind().Restarts {
			restarts++
		}
	}
	if got := len(again.Trials[0].Restarts()); got != restarts {
		t.Errorf("%d restarts, want %d", got, restarts)
	}
}
