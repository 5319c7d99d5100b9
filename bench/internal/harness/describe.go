package harness

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"reuseport-bench/bench/internal/load"
)

// Summary says in a line what the plan will take.
func (p *Plan) Summary() string {
	n := 0
	for _, s := range p.Scenarios {
		n += len(s.Trials)
	}
	return fmt.Sprintf("%s of %s, about %v, seed %d", counted(n, "trial"), counted(len(p.Scenarios), "scenario"), roughly(p.Duration()), p.Seed)
}

// counted is "1 trial", "2 trials".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func roughly(d time.Duration) time.Duration { return d.Round(time.Second) }

// Describe prints the whole plan.
func (p *Plan) Describe(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", p.Summary())
	fmt.Fprintf(&b, "load on CPUs %s, servers on CPUs %s", describeCPUs(p.LoadCPUs), describeCPUs(p.ServerCPUs))
	if len(p.Machine.CPUs) == 1 {
		b.WriteString(" (the only one: they will disturb each other)")
	}
	b.WriteString("\n")
	for _, s := range p.Scenarios {
		s.describe(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *ScenarioPlan) describe(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s: %d variants × %d blocks, about %v, at most %d repeats of invalid trials\n",
		p.Scenario.Name, len(p.Variants), p.Blocks(), roughly(p.Duration()), p.Repeats())
	common := p.commonSysctls()
	b.WriteString("  in every lab:\n")
	for _, s := range p.Variants[0].Sysctls {
		if common[s] {
			fmt.Fprintf(b, "     %s = %s\n", s.Name, s.Value)
		}
	}
	for i, v := range p.Variants {
		fmt.Fprintf(b, "  %c  %s\n", letter(i), orNone(v.Labels.String()))
		describeLoad(b, v)
		if v.Skipped != "" {
			fmt.Fprintf(b, "     skipped: %s\n", v.Skipped)
		}
		if len(v.Firings) > 0 {
			fmt.Fprintf(b, "     %s: %s\n", counted(len(v.Firings), "step"), describeFirings(v.Firings))
		}
		for _, s := range v.Sysctls {
			if !common[s] {
				fmt.Fprintf(b, "     %s = %s\n", s.Name, s.Value)
			}
		}
	}
	if len(p.Looks) > 0 {
		fmt.Fprintf(b, "  until the gates are decided, but for at most %v, blocks are added: up to %v in all\n", p.Budget, p.Looks[1:])
	}
	b.WriteString("  order of trials, a block a line:\n")
	for block := range p.Blocks() {
		b.WriteString("    ")
		for _, t := range p.Block(block) {
			fmt.Fprintf(b, " %c", letter(t.Variant))
		}
		b.WriteString("\n")
	}
}

func describeLoad(b *strings.Builder, v *VariantPlan) {
	l := v.Setup.Load
	if v.Setup.Search.P99 > 0 {
		fmt.Fprintf(b, "     %d workers at %v; search for the highest rate with p99 under %v, tries of %v, timeout %v\n",
			v.Servers.Workers, v.Servers.Address, v.Setup.Search.P99, l.Duration, l.Timeout)
		return
	}
	if v.Load == nil {
		fmt.Fprintf(b, "     %d workers at %v; %v, which is measured first, for %v, timeout %v\n",
			v.Servers.Workers, v.Servers.Address, l.Rate, l.Duration, l.Timeout)
		return
	}
	fmt.Fprintf(b, "     %d workers at %v; %g attempts/s for %v from %v, timeout %v; load processes: %d\n",
		v.Servers.Workers, v.Servers.Address, l.Rate.PerSecond, l.Duration, v.Load[0].Sources, l.Timeout, len(v.Load))
	describeRetry(b, v.Load[0].Retry)
}

// describeRetry says what clients do where they try again, with the defaults that depend on other settings.
func describeRetry(b *strings.Builder, r load.Retry) {
	if r.Max == 0 {
		return
	}
	fmt.Fprintf(b, "     up to %d tries, another after %s", r.Tries(), strings.Join(r.On, ", "))
	if r.Backoff > 0 {
		fmt.Fprintf(b, "; backoff %v, jitter %s", r.Backoff, cmp.Or(r.Jitter, load.NoJitter))
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

// commonSysctls are those that all variants set alike.
func (p *ScenarioPlan) commonSysctls() map[Sysctl]bool {
	count := map[Sysctl]int{}
	for _, v := range p.Variants {
		for _, s := range v.Sysctls {
			count[s]++
		}
	}
	common := map[Sysctl]bool{}
	for s, n := range count {
		common[s] = n == len(p.Variants)
	}
	return common
}

// describeFirings names the first three steps and the last.
func describeFirings(all []Firing) string {
	var parts []string
	for i, f := range all {
		switch {
		case i < 3 || i == len(all)-1:
			parts = append(parts, fmt.Sprintf("%s at %v", f.Step.Do, f.At))
		case i == 3:
			parts = append(parts, "…")
		}
	}
	return strings.Join(parts, ", ")
}

// letter names a variant in the order of trials.
func letter(i int) rune {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if i < len(letters) {
		return rune(letters[i])
	}
	return rune(0x4e00 + i) // past 52 variants: any distinct letters
}

func orNone(s string) string {
	if s == "" {
		return "(the only variant)"
	}
	return s
}
