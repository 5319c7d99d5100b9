package kernel

import (
	"testing"
)

func TestParseDiag(t *testing.T) {
	never := func([]byte) { t.Error("a socket") }
	cutOff := []byte{200, 0, 0, 0, 20, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if done, err := parseDiag(cutOff, never); !done || err == nil {
		t.Error("no error for a message that is cut off")
	}
	if done, err := parseDiag(nil, never); done || err != nil {
		t.Errorf("of nothing: %v, %v", done, err)
	}
}
