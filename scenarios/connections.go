package scenarios

import (
	"strconv"
	"strings"

	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// Connections is how attempts get a connection.
type Connections struct {
	How vocabulary.Connections
	// Count, if it is not 0, is the number of connections that are opened before the load and kept;
	// How is ConnectionsReused then.
	Count int
}

// String writes c as a scenario would: "reused", or "8".
func (c Connections) String() string {
	if c.Count > 0 {
		return strconv.Itoa(c.Count)
	}
	return string(c.How)
}

// DecodeText sets c from what String writes; see strictyaml.TextDecoder.
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

// NumberKey says that {count: 8} stands for 8; see strictyaml.KeyedNumber.
func (*Connections) NumberKey() string { return "count" }
