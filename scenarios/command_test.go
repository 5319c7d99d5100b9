package scenarios

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios/strictyaml"
)

// TestStatuses checks which texts are statuses, and which ranges they stand for.
func TestStatuses(t *testing.T) {
	for text, want := range map[string][][2]int{
		"200":             {{200, 200}},
		"2xx":             {{200, 299}},
		"200-299":         {{200, 299}},
		"2xx+304+400-599": {{200, 299}, {304, 304}, {400, 599}},
		"":                nil, "+": nil, "200+": nil, "200 ": nil, " 200": nil, "200\n": nil,
		"99": nil, "199": nil, "600": nil, "500-600": nil, "299-200": nil, "1xx": nil, "6xx": nil,
		"xx": nil, "20x": nil, "2xxx": nil, "2xx-3xx": nil, "200-": nil, "200-299x": nil,
		"200-2990": nil, "200-299 junk": nil, "2000": nil, "+200": nil, "-200": nil, "0x200": nil,
	} {
		var s Statuses
		p := s.DecodeText(text, strictyaml.Setting{})
		if (p == nil) != (want != nil) {
			t.Errorf("%q: problem %v, want one: %t", text, p, want == nil)
		}
		if diff := cmp.Diff(s.Ranges(), want); diff != "" {
			t.Errorf("%q: ranges (-got +want):\n%s", text, diff)
		}
	}
}
