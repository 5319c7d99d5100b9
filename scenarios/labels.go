package scenarios

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// String writes the labels as "sockets=reuseport stop=close": sockets first, then stop, then the
// others in alphabetical order. No labels: "".
func (l Labels) String() string {
	keys := l.keys()
	for i, key := range keys {
		keys[i] = key + "=" + l[key]
	}
	return strings.Join(keys, " ")
}

// keys lists the keys in the order of String.
func (l Labels) keys() []string {
	rank := func(key string) int {
		switch key {
		case "sockets":
			return 0
		case "stop":
			return 1
		}
		return 2
	}
	return slices.SortedFunc(maps.Keys(l), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
}

// Includes reports whether every label of other is also one of l. No labels are included in any.
func (l Labels) Includes(other Labels) bool {
	for key, value := range other {
		if have, ok := l[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// Equal reports whether l and other are the same labels; nil equals empty.
func (l Labels) Equal(other Labels) bool { return maps.Equal(l, other) }
