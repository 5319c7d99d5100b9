package scenarios

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reuseport-bench/servers/testkit"
)

func TestExplain(t *testing.T) {
	for _, name := range []string{"restart", "steady"} {
		t.Run(name, func(t *testing.T) {
			s, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			testkit.Golden(t, name+".explained.yaml", string(explain(t, s)))
			if diff := cmp.Diff(explained(t, s), s, likeFile); diff != "" {
				t.Errorf("the explained scenario, loaded (-got +want):\n%s", diff)
			}
		})
	}
}

func TestExplainOneVariant(t *testing.T) {
	s, err := Parse("f", []byte("name: x\nabout: 'It is: #1'\n"+
		"load: {rate: 0.5/s, duration: 1h}\nserver: {fault: {resets: 3}}\n"+
		"timeline: [{at: 0s, do: kill, target: 0}]\nmatrix: [{workers: [2]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "one-variant.explained.yaml", string(explain(t, s)))
	if diff := cmp.Diff(explained(t, s), s, likeFile); diff != "" {
		t.Errorf("the explained scenario, loaded (-got +want):\n%s", diff)
	}
}

func TestExplainToBrokenWriter(t *testing.T) {
	s, err := Load("steady")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Explain(brokenWriter{}); !errors.Is(err, errBroken) {
		t.Errorf("Explain: %v, want %v", err, errBroken)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// likeFile ignores differences between files with the same meaning. A missing list is equal to an
// empty one.
var likeFile = cmp.Options{
	cmpopts.IgnoreFields(Scenario{}, "SHA256", "File", "Text"),
	cmpopts.IgnoreFields(Axis{}, "Line"),
	cmpopts.IgnoreFields(Gate{}, "Line"),
	cmpopts.EquateEmpty(),
}

func explain(t *testing.T, s *Scenario) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := s.Explain(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// explained writes s with Explain, and returns the result of parsing the output.
func explained(t *testing.T, s *Scenario) *Scenario {
	t.Helper()
	text := explain(t, s)
	again, err := Parse("explained", text)
	if err != nil {
		t.Fatalf("%v, in:\n%s", err, text)
	}
	return again
}
