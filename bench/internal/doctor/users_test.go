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
		{"all of them", "         0          0 4294967295\n", true},
		{"one's own alone", "         0       1000          1\n", false},
		{"those of 16 bits", "         0     100000      65536\n", false},
		{"beyond, in a second line", "0 1000 1\n1 100000 100000\n", true},
		{"the first, and not the last", "0 0 65601\n", false},
		{"nothing", "", false},
	}
	for _, test := range tests {
		if got, err := mapsIDs(strings.NewReader(test.text), sys.FirstOtherUser, 2); got != test.want || err != nil {
			t.Errorf("%s: %v, %v", test.name, got, err)
		}
	}
	if _, err := mapsIDs(strings.NewReader("zero\n"), sys.FirstOtherUser, 2); err == nil {
		t.Error("no error for a line that is no map")
	}
}
