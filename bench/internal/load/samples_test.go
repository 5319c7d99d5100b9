package load

import (
	"bufio"
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/servers/clock"
)

// newTestBuffer makes a buffer for the given number of samples, and its loop. Both are freed when
// the test ends.
func newTestBuffer(t *testing.T, attempts uint64) (b *sampleBuffer, l *loop, r *os.File) {
	t.Helper()
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	if l, err = newLoop(clk); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = newSampleBuffer(w, attempts, l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(l.close(), b.free()); err != nil {
			t.Error(err)
		}
		_ = r.Close()
	})
	return b, l, r
}

// addSamples adds n samples of the largest size without retries.
func addSamples(b *sampleBuffer, n uint64) {
	for i := range n {
		b.add(&results.Sample{
			Sequence: i, Scheduled: 1 << 62, Sent: 1<<62 + 1, Connected: 1<<62 + 1e9,
			FirstByte: 1<<62 + 1e9, Done: 1<<62 + 1e9,
			Status: 200, Worker: 300, Generation: 300,
			Source: netip.MustParseAddrPort("[2001:db8::1]:60000"),
		})
	}
}

// readSamples reads everything the buffer writes.
func readSamples(r *os.File) (all []results.Sample, e end, err error) {
	p := &Process{samples: bufio.NewReader(r)}
	err = p.Samples(func(s *results.Sample) { all = append(all, *s) })
	return all, p.end, err
}

// TestSamplesAreKept checks that the planned number of samples stays in memory until the end,
// whatever their size.
func TestSamplesAreKept(t *testing.T) {
	const n = 10_000
	b, l, r := newTestBuffer(t, n)
	addSamples(b, n)
	if _, err := l.turn(0); err != nil {
		t.Fatal(err)
	}
	if waiting, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ); err != nil || waiting > 0 {
		t.Errorf("%d bytes were written early, want 0; error %v", waiting, err)
	}
	written := make(chan error, 1)
	go func() { written <- b.write() }()
	samples, e, err := readSamples(r)
	if err := errors.Join(err, <-written); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sequence(n), sequences(samples)); diff != "" || !cmp.Equal(e, end{}) {
		t.Errorf("end %+v, samples (-want +got):\n%s", e, diff)
	}
}

// TestSamplesAreFlushed checks that samples beyond the planned number are written early, as fast as
// the parent reads them. No sample is lost, either while the loop turns or when the parent reads so
// late that there is no room for more samples.
func TestSamplesAreFlushed(t *testing.T) {
	const planned, n = 100, 20_000 // planned samples take 6 kB, n samples 1.2 MB
	for _, tt := range []struct {
		name string
		late bool // the parent reads only when there is no room for more
	}{{"in time", false}, {"late", true}} {
		t.Run(tt.name, func(t *testing.T) {
			b, l, r := newTestBuffer(t, planned)
			full := make(chan struct{})
			written := make(chan error, 1)
			go func() {
				waits := tt.late
				for range n / planned {
					addSamples(b, planned)
					if !tt.late {
						_, _ = l.turn(0)
					}
					if waits && cap(b.pending)-len(b.pending) < planned*sampleRoom {
						waits = false
						close(full)
					}
				}
				written <- b.write()
			}()
			if tt.late {
				<-full
			}
			samples, e, err := readSamples(r)
			if err := errors.Join(err, <-written); err != nil {
				t.Fatal(err)
			}
			if len(samples) != n || e.EarlyFlushes < 1 {
				t.Errorf("%d samples, %d early flushes; want %d, and at least one",
					len(samples), e.EarlyFlushes, n)
			}
			for i, s := range samples {
				if s.Sequence != uint64(i%planned) {
					t.Fatalf("sample %d is of attempt %d", i, s.Sequence)
				}
			}
		})
	}
}

// TestSamplesWithoutParent checks that the death of the parent blocks neither the loop nor the last
// write.
func TestSamplesWithoutParent(t *testing.T) {
	b, _, r := newTestBuffer(t, 10)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	addSamples(b, 20_000)
	if err := b.write(); !errors.Is(err, unix.EPIPE) {
		t.Errorf("error %v, want %v", err, unix.EPIPE)
	}
}
