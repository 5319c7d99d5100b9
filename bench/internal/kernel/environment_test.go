package kernel

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCPUModel(t *testing.T) {
	x86, err := os.ReadFile("testdata/linux-6.18/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, text, want string }{
		{"x86", string(x86), "Intel(R) Xeon(R) Processor"},
		{
			"arm64",
			"processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\n" +
				"processor\t: 1\nCPU part\t: 0xd40\n",
			"implementer 0x41 part 0xd0c",
		},
		{
			"POWER",
			"processor\t: 0\ncpu\t\t: POWER9, altivec supported\n",
			"POWER9, altivec supported",
		},
		{"nothing known", "processor\t: 0\n", ""},
	} {
		if got := parseCPUModel(strings.NewReader(test.text)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestParseCPUList(t *testing.T) {
	for _, test := range []struct {
		text string
		want []int
		bad  bool
	}{
		{text: "0\n", want: []int{0}},
		{text: "0-2,8,10-11\n", want: []int{0, 1, 2, 8, 10, 11}},
		{text: "\n"},
		{text: "2-1", bad: true},
		{text: "-1", bad: true},
		{text: "0,,1", bad: true},
		{text: "a-b", bad: true},
		{text: "0-4000000000", bad: true},
	} {
		got, err := parseCPUList(test.text)
		if (err != nil) != test.bad {
			t.Errorf("%q: got error %v, want an error: %v", test.text, err, test.bad)
		}
		if diff := cmp.Diff(got, test.want); diff != "" {
			t.Errorf("%q (-got +want):\n%s", test.text, diff)
		}
	}
}
