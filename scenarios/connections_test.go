package scenarios

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios/vocabulary"
)

// Connections are written as a word, as a number, or as a mapping with a number. The output of
// Explain and the labels of variants contain the number, not the mapping.
func TestConnections(t *testing.T) {
	eight := Connections{How: vocabulary.ConnectionsReused, Count: 8}
	for text, want := range map[string]Connections{
		"new": {How: vocabulary.ConnectionsNew}, "reused": {How: vocabulary.ConnectionsReused},
		"mixed": {How: vocabulary.ConnectionsMixed}, "8": eight, "{count: 8}": eight,
	} {
		file := strings.Replace(head, "duration: 1s", "duration: 1s, connections: "+text, 1)
		s, err := Parse("f", []byte(file))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Variants[0].Setup.Load.Connections; got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
		if diff := cmp.Diff(explained(t, s), s, likeFile); diff != "" {
			t.Errorf("%s: the explained scenario, loaded (-got +want):\n%s", text, diff)
		}
	}
	const matrix = "matrix: [{load.connections: [new, 8, {count: 9}]}]\n"
	s, err := Parse("f", []byte(head+matrix+"baseline: {load.connections: 9}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, v := range s.Variants {
		labels = append(labels, v.Labels.String()+" "+v.Setup.Load.Connections.String())
	}
	want := []string{"load.connections=new new", "load.connections=8 8", "load.connections=9 9"}
	if diff := cmp.Diff(labels, want); diff != "" {
		t.Errorf("variants (-got +want):\n%s", diff)
	}
}
