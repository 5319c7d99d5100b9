package plan

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios/vocabulary"
)

// Summary returns one line about the size of the plan.
func (p *Plan) Summary() string {
	n, quick := 0, ""
	for _, s := range p.Scenarios {
		n += len(s.Trials)
		if look := s.QuickLook(); look != "" {
			quick += fmt.Sprintf("; %s: %s", s.Spec.Name, look)
		}
	}
	return fmt.Sprintf("%s of %s, about %v, seed %d%s", unit.Plural(n, "trial"),
		unit.Plural(len(p.Scenarios), "scenario"), roughly(p.Duration()), p.Seed, quick)
}

func roughly(d time.Duration) time.Duration { return d.Round(time.Second) }

// Describe prints the whole plan.
func (p *Plan) Describe(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", p.Summary())
	fmt.Fprintf(&b, "load on CPU %s, servers on CPU %s, this program on CPU %s\n",
		describeCPUs(p.CPUs.Load), describeCPUs(p.CPUs.Servers), describeCPUs(p.CPUs.Harness))
	for _, note := range p.CPUs.Notes {
		fmt.Fprintf(&b, "   %s\n", note)
	}
	for _, s := range p.Scenarios {
		s.describe(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Scenario) describe(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s: %s × %s, about %v, at most %s of invalid trials\n", p.Spec.Name,
		unit.Plural(len(p.Variants), "variant"), unit.Plural(p.Blocks(), "block"),
		roughly(p.Duration()), unit.Plural(p.Repeats(), "repeat"))
	if look := p.QuickLook(); look != "" {
		fmt.Fprintf(b, "  %s\n", look)
	}
	if lowered := p.LoweredMinValid(); lowered != "" {
		fmt.Fprintf(b, "  %s\n", lowered)
	}
	common := p.describeSysctls(b)
	for i, v := range p.Variants {
		fmt.Fprintf(b, "  %s: %s\n", variantName(i), OrNone(v.Labels.String()))
		describeLoad(b, v)
		if v.Skipped != "" {
			fmt.Fprintf(b, "     skipped: %s\n", v.Skipped)
		}
		if len(v.Steps) > 0 {
			workers := ""
			if v.Start != "" {
				workers = ", workers start " + string(v.Start)
			}
			if v.Stop != "" {
				workers += fmt.Sprintf(", grace %v", v.Servers.Grace)
			}
			fmt.Fprintf(b, "     %s%s: %s\n",
				unit.Plural(len(v.Steps), "step"), workers, describeSteps(v.Steps))
		}
		for _, s := range v.workerSysctls() {
			if !common[s] {
				fmt.Fprintf(b, "     %s = %s\n", s.Name, s.Value)
			}
		}
	}
	if len(p.Looks) > 0 {
		fmt.Fprintf(b, "  blocks are added until the gates are decided, for %v at most: "+
			"up to %v in all\n", p.Budget, p.Looks[1:])
	}
	b.WriteString("  order of trials, a block a line:\n")
	for block := range p.Blocks() {
		b.WriteString("    ")
		for _, t := range p.Block(block) {
			fmt.Fprintf(b, " %s", variantName(t.Variant))
		}
		b.WriteString("\n")
	}
}

func describeLoad(b *strings.Builder, v *Variant) {
	workers := v.Servers.Workers
	if h := v.HAProxy; h != nil {
		fmt.Fprintf(b, "     HAProxy at %v, checks %s, redispatch %s\n",
			v.Load[0].Target, h.Checks, onOff(h.Redispatch))
	}
	fmt.Fprintf(b, "     %s at %v", unit.Plural(workers, "worker"), v.Servers.Address)
	if v.Servers.PortPerIndex && workers > 1 {
		fmt.Fprintf(b, " to %d", int(v.Servers.Address.Port())+workers-1)
	}
	describeSockets(b, v)
	if v.Load != nil {
		fmt.Fprintf(b, "; %s, from %v", unit.Plural(len(v.Load), "load process"), v.Load[0].Sources)
	}
	b.WriteString("\n     ")
	switch {
	case v.Search != nil && v.Search.Setting == "":
		fmt.Fprintf(b, "search for the highest rate with p99 under %v, tries of %v",
			v.Search.P99, v.Duration)
	case v.Load == nil:
		fmt.Fprintf(b, "%v, which is measured first, for %v", v.setup.Load.Rate, v.Duration)
	default:
		describeShape(b, v.Load[0].Shape)
	}
	fmt.Fprintf(b, ", timeout %v", v.Timeout)
	if s := v.Search; s != nil && s.Setting != "" {
		fmt.Fprintf(b, ", search for the %s %s from %s to %s with which nothing is dropped",
			s.Kind(), s.Setting, s.Text(s.From), s.Text(s.To))
	}
	if trip := v.RoundTrip.Whole(); trip > 0 {
		fmt.Fprintf(b, ", a round trip of %v", trip)
	}
	b.WriteString("\n")
	if v.Load != nil {
		describeKept(b, v)
		describeRetry(b, v.Load[0].Retry)
	}
}

// describeSockets prints the settings of the workers' sockets and users that are not the defaults.
func describeSockets(b *strings.Builder, v *Variant) {
	cfg := v.Servers
	if at := cfg.ListenAt; len(at) > 1 || at[0] != vocabulary.ListenSpecific {
		fmt.Fprintf(b, ", listening at %s", vocabulary.Join(at, ", then "))
	}
	if cfg.DeferAccept > 0 {
		fmt.Fprintf(b, ", deferring accept for %v", cfg.DeferAccept)
	}
	if cfg.Users != vocabulary.UsersOne {
		fmt.Fprintf(b, ", users %s", cfg.Users)
	}
}

// describeKept prints the number of kept connections, and the limits at which client and server
// close them.
func describeKept(b *strings.Builder, v *Variant) {
	k, s := v.Load[0].Keep, v.Servers
	if k.Count > 0 {
		fmt.Fprintf(b, "     %s kept, opened before the load begins\n",
			unit.Plural(k.Count, "connection"))
	}
	if ends := keptUntil(k.MaxRequests, k.Lifetime, k.IdleTimeout); ends != "" {
		fmt.Fprintf(b, "     the client closes a kept connection %s\n", ends)
	}
	if ends := keptUntil(s.MaxRequests, 0, s.IdleTimeout); ends != "" {
		fmt.Fprintf(b, "     a worker closes a kept connection %s\n", ends)
	}
}

// keptUntil describes the limits at which a kept connection is closed. It returns "" if there are
// none.
func keptUntil(requests int, lifetime, idle time.Duration) string {
	var limits []string
	if requests > 0 {
		limits = append(limits, "after "+unit.Plural(requests, "request"))
	}
	if lifetime > 0 {
		limits = append(limits, fmt.Sprintf("at the age of %v", lifetime))
	}
	if idle > 0 {
		limits = append(limits, fmt.Sprintf("idle for %v", idle))
	}
	return strings.Join(limits, ", ")
}

// describeShape prints the rate and duration of the load.
func describeShape(b *strings.Builder, s load.Shape) {
	if s.Clients > 0 {
		fmt.Fprintf(b, "closed loop of %s for %v: each sends its next attempt when its last one "+
			"has ended", unit.Plural(s.Clients, "client"), s.Duration)
		return
	}
	mean := ""
	if len(s.Stages) > 0 {
		mean = "a mean of "
	}
	fmt.Fprintf(b, "%s%s attempts/s for %v", mean, unit.Digits(s.Rate, 6), s.Duration)
	for i, stage := range s.Stages {
		between := ", "
		if i == 0 {
			between = ": "
		}
		from := ""
		if stage.From != stage.Rate {
			from = unit.Digits(stage.From, 6) + " to "
		}
		fmt.Fprintf(b, "%s%s%s/s for %v", between, from, unit.Digits(stage.Rate, 6), stage.Duration)
	}
}

// describeRetry prints how clients retry, including the defaults that depend on other settings.
func describeRetry(b *strings.Builder, r load.Retry) {
	if r.Max == 0 {
		return
	}
	fmt.Fprintf(b, "     up to %d tries, another after %s", r.Tries(), vocabulary.Join(r.On, ", "))
	if r.Backoff > 0 {
		fmt.Fprintf(b, "; backoff %v, jitter %s", r.Backoff,
			cmp.Or(r.Jitter, vocabulary.JitterNone))
	}
	if r.MaxBackoff > 0 {
		fmt.Fprintf(b, ", at most %v", r.MaxBackoff)
	}
	if r.ConnectTimeout > 0 {
		fmt.Fprintf(b, "; %v for each handshake", r.ConnectTimeout)
	}
	if r.Budget.Tokens > 0 {
		fmt.Fprintf(b, "; a budget of %g tokens, ratio %g", r.Budget.Tokens, r.Budget.Ratio)
	}
	b.WriteString("\n")
}

// describeSysctls lists the sysctls that all variants set to the same value where their workers
// are, and returns them. It passes over variants that set none there.
func (p *Scenario) describeSysctls(b *strings.Builder) (common map[Sysctl]bool) {
	count, labs := map[Sysctl]int{}, 0
	var all []Sysctl
	for _, v := range p.Variants {
		if set := v.workerSysctls(); len(set) > 0 {
			labs++
			for _, s := range set {
				if count[s]++; count[s] == 1 {
					all = append(all, s)
				}
			}
		}
	}
	if labs == 0 {
		return nil
	}
	where := "in every lab"
	if labs < len(p.Variants) {
		where += ", except in pods of a real Kubernetes"
	}
	fmt.Fprintf(b, "  %s:\n", where)
	common = map[Sysctl]bool{}
	for _, s := range all {
		if common[s] = count[s] == labs; common[s] {
			fmt.Fprintf(b, "     %s = %s\n", s.Name, s.Value)
		}
	}
	return common
}

// workerSysctls returns the sysctls that are set in the networks of the workers. The network of a
// pod of a real Kubernetes is made by its node, so none is set there, except in a pod that holds
// all workers.
func (v *Variant) workerSysctls() []Sysctl {
	if c := v.Cluster; c != nil && c.Control == vocabulary.ControlReal &&
		!c.Placement.Row().OnHost && !c.OnePod() {
		return nil
	}
	return v.Sysctls
}

// describeSteps lists the first three steps and the last one. It omits the name of a step if the
// preceding step has the same name.
func describeSteps(all []PlannedStep) string {
	var b strings.Builder
	var does vocabulary.StepName
	for i, f := range all {
		if i >= 3 && i < len(all)-1 {
			continue
		}
		if i > 3 {
			b.WriteString(", …")
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if f.Do != does {
			does = f.Do
			fmt.Fprintf(&b, "%s at ", does)
		}
		fmt.Fprint(&b, f.At)
	}
	return b.String()
}

// variantName returns a variant's name in the order of trials: A to Z, AA, AB and so on, like the
// columns of a spreadsheet.
func variantName(i int) string {
	if i < 0 {
		return ""
	}
	return variantName(i/26-1) + string(rune('A'+i%26))
}

// OrNone returns s, the labels of a variant, or a text in its place if s is empty.
func OrNone(s string) string {
	if s == "" {
		return "(the only variant)"
	}
	return s
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
