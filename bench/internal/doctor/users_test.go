package doctor

import (
	"strings"
	"testing"

	"reuseport-bench/servers/sys"
)

func TestMapsIDs(t *testing.T) {
	tests := []struct {
		name, text string
		want       bool
	}{
		{"all ids", "         0          0 4294967295\n", true},
		{"the user's own id", "         0       1000          1\n", false},
		{"16-bit ids", "         0     100000      65536\n", false},
		{"in the second line", "0 1000 1\n1 100000 100000\n", true},
		{"the first, but not the last", "0 0 65601\n", false},
		{"nothing", "", false},
	}
	for _, test := range tests {
		got, err := mapsIDs(strings.NewReader(test.text), sys.FirstOtherUser, 2)
		if got != test.want || err != nil {
			t.Errorf("%s: got %v, error %v; want %v", test.name, got, err, test.want)
		}
	}
	if _, err := mapsIDs(strings.NewReader("zero\n"), sys.FirstOtherUser, 2); err == nil {
		t.Error("no error for a malformed line")
	}
}
