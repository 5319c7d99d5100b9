package kernel

import (
	"testing"
)

func TestParseQueues(t *testing.T) {
	if _, done, err := parseQueues([]byte{200, 0, 0, 0, 20, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil); !done || err == nil {
		t.Error("no error for a message that is cut off")
	}
	if all, done, err := parseQueues(nil, nil); done || err != nil || len(all) != 0 {
		t.Errorf("of nothing: %v, %v, %v", all, done, err)
	}
}
