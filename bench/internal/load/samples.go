package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/results"
)

// sampleBuffer keeps the samples of a load process in memory until the last attempt has ended, so
// that neither this process nor its parent spends time on samples during the load. The memory is
// allocated before the first attempt. If the samples do not fit, the loop writes some of them
// early, as fast as the pipe takes them.
type sampleBuffer struct {
	out      *os.File
	fd       int    // descriptor of out
	memory   []byte // outside Go's heap, which would otherwise grow by a multiple of this size
	pending  []byte // the part of memory that holds the samples to write
	written  int    // number of bytes of pending already written
	limit    int    // length of pending, in bytes, at which an early write starts
	flushing bool
	end      end
	err      error // error of the first failed write; later samples are dropped
}

const (
	// sampleRoom is the maximum size of a sample in bytes, if its attempt had at most ten tries.
	// Typical sizes are 40 bytes, and 52 with IPv6.
	sampleRoom = 64
	// keptSamples is the maximum number of samples kept in memory: 12.8 MB.
	keptSamples = 200_000
	// flushRoom is the space, in bytes, for samples that are added during an early write.
	flushRoom = 256 << 10
)

// end is the line of JSON that a load process writes after its last sample. A zero byte precedes
// the line; it cannot be the length of a sample.
type end struct {
	EarlyFlushes int `json:"early_flushes"` // see sampleBuffer
	// DriveCPU is the CPU time of the process from the start of the schedule until its last attempt
	// had ended.
	DriveCPU time.Duration `json:"drive_cpu_ns"`
	Identities
}

// newSampleBuffer makes a buffer for the given number of attempts. out is a pipe, which write
// closes. The caller calls free.
func newSampleBuffer(out *os.File, attempts uint64, l *loop) (*sampleBuffer, error) {
	b := &sampleBuffer{
		out: out, fd: int(out.Fd()), limit: int(min(attempts, keptSamples)) * sampleRoom,
	}
	var err error
	b.memory, err = unix.Mmap(-1, 0, b.limit+flushRoom, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("memory for samples: mmap: %w", err)
	}
	b.pending = b.memory[:0]
	// A full pipe must not block the loop. Only this end becomes non-blocking.
	if err := unix.SetNonblock(b.fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("samples: %w", err), b.free())
	}
	if err := l.watch(b.fd, unix.EPOLLOUT, b.flush); err != nil {
		return nil, errors.Join(fmt.Errorf("samples: %w", err), b.free())
	}
	return b, nil
}

// add adds a sample. If there is no room, it waits until the parent has read some, which delays all
// attempts.
func (b *sampleBuffer) add(s *results.Sample) {
	for b.err == nil && cap(b.pending)-len(b.pending) < results.MaxSample {
		wait := []unix.PollFd{{Fd: int32(b.fd), Events: unix.POLLOUT}}
		if _, err := unix.Poll(wait, -1); err != nil && !errors.Is(err, unix.EINTR) {
			b.err = fmt.Errorf("poll: %w", err)
		}
		b.flush()
	}
	if b.err != nil {
		return
	}
	b.pending = s.Append(b.pending)
	if len(b.pending) >= b.limit && !b.flushing {
		b.flushing = true
		b.end.EarlyFlushes++
		b.flush()
	}
}

// flush continues an early write until the pipe is full. If it fails, write returns the error.
func (b *sampleBuffer) flush() error {
	for b.flushing && b.err == nil {
		n, err := unix.Write(b.fd, b.pending[b.written:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			b.err = err
		case err == nil:
			b.written += n
		}
		if b.written == len(b.pending) {
			b.pending, b.written, b.flushing = b.pending[:0], 0, false
		}
	}
	return nil
}

// write writes the remaining samples and the end line, and closes the pipe. It returns the first
// error of any write.
func (b *sampleBuffer) write() error {
	if err := errors.Join(b.err, unix.SetNonblock(b.fd, false)); err != nil {
		return errors.Join(fmt.Errorf("samples: %w", err), b.out.Close())
	}
	return writeLast(b.out, b.pending[b.written:], b.end)
}

// writeLast writes the last samples, already encoded, and the end line, and closes the pipe.
func writeLast(out *os.File, samples []byte, e end) error {
	_, err := out.Write(samples)
	if err == nil {
		_, err = out.Write([]byte{0})
	}
	if err == nil {
		err = json.NewEncoder(out).Encode(e)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("samples: %w", err)
	}
	return nil
}

// free frees the memory.
func (b *sampleBuffer) free() error { return unix.Munmap(b.memory) }
