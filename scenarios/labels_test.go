package scenarios

import "testing"

func TestLabelsString(t *testing.T) {
	tests := []struct {
		labels Labels
		want   string
	}{
		{nil, ""},
		{Labels{"workers": "2"}, "workers=2"},
		{Labels{"load.rate": "1/s", "workers": "2", "stop": "kill", "sockets": "shared", "backlog": "1"}, "sockets=shared stop=kill backlog=1 load.rate=1/s workers=2"},
	}
	for _, test := range tests {
		if got := test.labels.String(); got != test.want {
			t.Errorf("String = %q, want %q", got, test.want)
		}
	}
}

func TestLabelsIncludesAndEqual(t *testing.T) {
	both := Labels{"sockets": "shared", "stop": "kill"}
	tests := []struct {
		name            string
		l, other        Labels
		includes, equal bool
	}{
		{"itself", both, Labels{"stop": "kill", "sockets": "shared"}, true, true},
		{"fewer", both, Labels{"stop": "kill"}, true, false},
		{"none", both, nil, true, false},
		{"more", Labels{"stop": "kill"}, both, false, false},
		{"another value", both, Labels{"sockets": "shared", "stop": "close"}, false, false},
		{"another key with an empty value", both, Labels{"network": ""}, false, false},
		{"none and empty", nil, Labels{}, true, true},
	}
	for _, test := range tests {
		if got := test.l.Includes(test.other); got != test.includes {
			t.Errorf("%s: Includes = %t, want %t", test.name, got, test.includes)
		}
		if got := test.l.Equal(test.other); got != test.equal {
			t.Errorf("%s: Equal = %t, want %t", test.name, got, test.equal)
		}
	}
}
