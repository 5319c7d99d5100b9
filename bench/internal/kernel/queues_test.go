package kernel

import (
	"testing"
)

func TestParseDiag(t *testing.T) {
	never := func([]byte) { t.Error("parsed a socket in a message without sockets") }
	cutOff := []byte{200, 0, 0, 0, 20, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if done, err := parseDiag(cutOff, never); !done || err == nil {
		t.Error("no error for a truncated message")
	}
	if done, err := parseDiag(nil, never); done || err != nil {
		t.Errorf("empty datagram: done %v, error %v; want neither", done, err)
	}
}
