package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/ringbuf"
)

// ReadRing calls f for each record of a BPF ring, in order, until the reader is flushed or closed.
// T is the type that bpf2go generates for a record. f must not keep its argument.
func ReadRing[T any](r *ringbuf.Reader, f func(*T)) error {
	var record ringbuf.Record
	for {
		err := r.ReadInto(&record)
		if errors.Is(err, ringbuf.ErrFlushed) || errors.Is(err, ringbuf.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		var raw T
		if _, err := binary.Decode(record.RawSample, binary.NativeEndian, &raw); err != nil {
			return fmt.Errorf("a record of %d bytes: %w", len(record.RawSample), err)
		}
		f(&raw)
	}
}
