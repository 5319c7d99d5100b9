package plan

import "slices"

// Words returns the words of the scenario language that the variant uses, in alphabetical order. A
// value has the form "path: direct"; a setting that is present, "retry". v.Load must not be nil.
func (v *Variant) Words() (words []string) {
	cfg, l := v.Servers, v.Load[0]
	for name, value := range map[string]string{
		"network": string(v.Network), "path": string(v.Path), "kind": string(cfg.Kind),
		"sockets": string(v.setup.Sockets), "accept": string(cfg.Accept), "stop": string(v.Stop),
		"connections": string(l.Connections), "family": string(v.Family),
	} {
		if value != "" {
			words = append(words, name+": "+value)
		}
	}
	for name, is := range map[string]bool{
		"kept":  l.Keep.Count > 0,
		"ports": l.Ports > 0, "retry": l.Retry.Max > 0, "body": l.Body > 0,
		"concurrency": l.Shape.Clients > 0, "stages": len(l.Shape.Stages) > 0,
		"processes": len(v.Load) > 1, "aborts": l.Aborts > 0, "resets": cfg.Fault.ResetCount > 0,
		"half_open": v.Fault.HalfOpen > 0, "time_wait": v.Fault.TimeWait > 0,
		"round_trip":   v.RoundTrip != nil,
		"dropped_syns": v.Fault.DroppedSYNs > 0, "rejected_syns": v.Fault.RejectedSYNs > 0,
	} {
		if is {
			words = append(words, name)
		}
	}
	slices.Sort(words)
	return words
}
