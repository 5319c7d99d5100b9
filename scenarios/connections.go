package scenarios

import (
	"strconv"
	"strings"

	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// Connections is the way in which attempts get a connection.
type Connections struct {
	How vocabulary.Connections
	// Count is the number of connections to open before the load and keep, or 0 if no number is
	// set. If Count is not 0, How is ConnectionsReused.
	Count int
}

// String formats c as in a scenario: "reused" or "8".
func (c Connections) String() string {
	if c.Count > 0 {
		return strconv.Itoa(c.Count)
	}
	return string(c.How)
}

// DecodeText sets c from text in the format of String; see strictyaml.TextDecoder.
func (c *Connections) DecodeText(text string, s strictyaml.Setting) *strictyaml.Problem {
	if !strictyaml.IsNumber(text) {
		p := strictyaml.CheckChoice(text, s)
		if p == nil {
			*c = Connections{How: vocabulary.Connections(text)}
		}
		return p
	}
	count, err := strconv.Atoi(text)
	if err != nil || !s.Allows(float64(count)) {
		p := s.OutOfRange(text, strictyaml.FormatNumber)
		if strings.Trim(text, "+-0123456789") != "" {
			p.What = text + " is not a whole number"
		}
		return p
	}
	*c = Connections{How: vocabulary.ConnectionsReused, Count: count}
	return nil
}

// NumberKey returns the key in {count: 8}, which means 8; see strictyaml.KeyedNumber.
func (*Connections) NumberKey() string { return "count" }
