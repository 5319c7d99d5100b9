package scenarios

import (
	"fmt"
	"math"
	"strings"
)

// finding is a problem with a setup as a whole, found before it is known where to point.
type finding struct{ path, what, hint string }

// setupCheck collects the findings of one setup. A rule is not applied when a value it reads has a
// problem of its own, so that one mistake is reported once.
type setupCheck struct {
	*Setup
	d     *decoder
	found []finding
}

// checkSetup looks for values that are missing or do not go together.
func checkSetup(s *Setup, d *decoder) []finding {
	c := &setupCheck{Setup: s, d: d}
	c.stopAndSockets()
	c.work()
	c.load()
	for i := range s.Timeline {
		c.step(i)
	}
	return c.found
}

func (c *setupCheck) add(path, what, hint string) {
	c.found = append(c.found, finding{path, path + what, hint})
}

func (c *setupCheck) stopAndSockets() {
	if !c.d.trusts("stop", "sockets") {
		return
	}
	switch c.Stop {
	case "close", "drain", "migrate":
		if c.Sockets == "shared" {
			c.add("stop", ": "+c.Stop+" needs sockets: reuseport", "a shared socket stays open in the successor; use handoff")
		}
	case "handoff":
		if c.Sockets == "reuseport" {
			c.add("stop", ": handoff needs sockets: shared", "a reuseport socket belongs to one worker; use migrate")
		}
	}
}

func (c *setupCheck) work() {
	if w := c.Server.Work; c.d.trusts("server.work") && w.Sleep > 0 && w.Burn > 0 {
		c.add("server.work", ": both sleep and burn are set", "use one of them")
	}
}

func (c *setupCheck) load() {
	l := c.Load
	if l.Rate == 0 && c.d.trusts("load.rate") {
		c.add("load.rate", " is missing", "for example rate: 2000/s")
	}
	if l.Duration == 0 && c.d.trusts("load.duration") {
		c.add("load.duration", " is missing", "for example duration: 3s")
	}
	if l.Rate == 0 || l.Duration == 0 || !c.d.trusts("load.rate", "load.duration") {
		return
	}
	// Rounded, so that 0.1/s over 10 s is the one attempt it says.
	attempts := math.Round(float64(l.Rate)*l.Duration.Seconds()*1e6) / 1e6
	product := fmt.Sprintf(": %s for %s schedules ", l.Rate, durationText(l.Duration))
	switch {
	case attempts < 1:
		c.add("load", product+"no attempt", "raise the rate or the duration")
	case attempts > maxAttempts:
		c.add("load", product+fmt.Sprintf("%.0f attempts", attempts), fmt.Sprintf("at most %d; lower the rate or the duration", maxAttempts))
	}
}

func (c *setupCheck) step(i int) {
	step := c.Timeline[i]
	path := fmt.Sprintf("timeline[%d]", i)
	if !c.d.trusts(path) {
		return
	}
	if end := c.Load.Duration; step.At >= end && end > 0 && c.d.trusts(path+".at", "load.duration") {
		c.add(path+".at", fmt.Sprintf(": %s is not before the load's end at %s", durationText(step.At), durationText(end)), "fire earlier, or lengthen load.duration")
	}
	if !c.d.trusts(path + ".do") {
		return
	}
	switch step.Do {
	case "":
		c.add(path+".do", " is missing", "steps are "+strings.Join(findSetting("timeline[].do").values(), ", "))
	case "replace":
		if c.Stop == "" && c.d.trusts("stop") {
			c.add(path, ": replace needs stop", "say how the old workers end: "+strings.Join(findSetting("stop").values(), ", "))
		}
	}
	if c.d.trusts(path + ".for") {
		c.length(path, step)
	}
}

// length checks how long a step lasts.
func (c *setupCheck) length(path string, step Step) {
	switch {
	case step.Do == "stall" && step.For == 0:
		c.add(path+".for", ": a stall needs a length", "for example for: 50ms")
	case step.Do == "stall" && step.Every > 0 && step.Every <= step.For && c.d.trusts(path+".every"):
		c.add(path+".every", fmt.Sprintf(": a stall of %s every %s never ends", durationText(step.For), durationText(step.Every)), "make for shorter than every")
	case step.Do != "stall" && step.Do != "" && step.For > 0:
		c.add(path+".for", ": only a stall has a length", "remove for, or use do: stall")
	}
}
