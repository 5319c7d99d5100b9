package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/iotest"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestCountInodes(t *testing.T) {
	var records []byte
	for _, inode := range []uint64{7, 0, 1 << 40, 7, 7} {
		records = binary.NativeEndian.AppendUint64(records, inode)
	}
	want := map[uint64]int{0: 1, 7: 3, 1 << 40: 1}
	for _, size := range []int{1, 2, 5, 100} { // size of the buffer; there are 5 records
		bytewise := iotest.OneByteReader(bytes.NewReader(records))
		got, err := countInodes(bytewise, make([]byte, size*recordSize))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("buffer of %d records: error %v (-want +got):\n%s", size, err, diff)
		}
	}
	buffer := make([]byte, 2*recordSize)
	if got, err := countInodes(bytes.NewReader(records[1:]), buffer); err == nil {
		t.Errorf("cut off: got %v and no error", got)
	}
	if _, err := countInodes(iotest.ErrReader(unix.EAGAIN), buffer); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("got error %v, want EAGAIN", err)
	}
}

func TestExplainTracing(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want bool // whether the result is ErrNotSupported
	}{
		{"no such iterator", fmt.Errorf("x: %w", btf.ErrNotFound), true},
		{"no type information", fmt.Errorf("x: %w", unix.ENOENT), true},
		{"no such program", fmt.Errorf("x: %w", ebpf.ErrNotSupported), true},
		{"refused", fmt.Errorf("%w: %w", ebpf.ErrNotSupported, unix.EPERM), false},
		{"something else", unix.ENOMEM, false},
	} {
		got := explainTracing(test.err)
		if errors.Is(got, ErrNotSupported) != test.want || !errors.Is(got, test.err) {
			t.Errorf("%s: got %v; want it to wrap its cause, and ErrNotSupported: %v",
				test.name, got, test.want)
		}
	}
}
