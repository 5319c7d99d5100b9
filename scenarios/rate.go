package scenarios

import (
	"fmt"
	"strconv"
	"strings"

	"reuseport-bench/scenarios/strictyaml"
)

// String formats r as in a scenario: "2000/s" or "0.7*capacity".
func (r Rate) String() string {
	if r.OfCapacity != 0 {
		return strictyaml.FormatNumber(r.OfCapacity) + ofCapacity
	}
	return strictyaml.FormatNumber(r.PerSecond) + "/s"
}

// ofCapacity ends a rate that is a share of the capacity.
const ofCapacity = "*capacity"

// maxOfCapacity is the largest allowed share of the capacity. Twice the capacity overloads any
// server.
const maxOfCapacity = 2

// shareable is the path of the only rate that can be a share of the capacity.
const shareable = "load.rate"

// DecodeText sets r from text in the format of String; see strictyaml.TextDecoder.
func (r *Rate) DecodeText(text string, s strictyaml.Setting) *strictyaml.Problem {
	if strings.Contains(text, "capacity") {
		return r.decodeShare(text, s)
	}
	number, perSecond := strings.CutSuffix(text, "/s")
	switch {
	case strictyaml.IsNumber(text):
		return withoutUnit(text, s)
	case !perSecond || !strictyaml.IsNumber(number):
		hint := "write attempts per second, for example 2000/s"
		if s.Path == shareable {
			hint += ", or a share of the servers' capacity, 0.7*capacity"
		}
		return &strictyaml.Problem{What: fmt.Sprintf("%q is not a rate", text), Hint: hint}
	}
	rate, err := strconv.ParseFloat(number, 64)
	if err != nil || !s.Allows(rate) {
		return s.OutOfRange(text, func(x float64) string { return Rate{PerSecond: x}.String() })
	}
	*r = Rate{PerSecond: rate}
	return nil
}

// withoutUnit returns the Problem for a rate without a unit. Its hint suggests the number with the
// unit. If s does not allow that rate, withoutUnit returns the Problem for it instead.
func withoutUnit(text string, s strictyaml.Setting) *strictyaml.Problem {
	var r Rate
	if p := r.DecodeText(text+"/s", s); p != nil {
		return p
	}
	hint := fmt.Sprintf("write %s/s", text)
	if s.Path == shareable && r.PerSecond <= maxOfCapacity {
		hint += fmt.Sprintf(", or %s%s for a share of the servers' capacity", text, ofCapacity)
	}
	return &strictyaml.Problem{What: text + " has no unit", Hint: hint}
}

// decodeShare decodes a share of the capacity, such as "0.7*capacity".
func (r *Rate) decodeShare(text string, s strictyaml.Setting) *strictyaml.Problem {
	number, ok := strings.CutSuffix(strings.ReplaceAll(text, " ", ""), ofCapacity)
	switch {
	case s.Path != shareable:
		return &strictyaml.Problem{
			What: "only " + shareable + " can be a share of the capacity",
			Hint: "write attempts per second, for example " + s.Example,
		}
	case !ok || !strictyaml.IsNumber(number):
		return &strictyaml.Problem{
			What: fmt.Sprintf("%q is not a share of the capacity", text),
			Hint: "write a number, an asterisk and the word: 0.7*capacity",
		}
	}
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || share <= 0 || share > maxOfCapacity {
		return &strictyaml.Problem{
			What: text + " is out of range",
			Hint: fmt.Sprintf("allowed: more than 0, up to %s", Rate{OfCapacity: maxOfCapacity}),
		}
	}
	*r = Rate{OfCapacity: share}
	return nil
}
