package results

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func testSamples() []Sample {
	return []Sample{
		{
			Process: 1, Sequence: 1 << 40, Scheduled: 5_000_000_000, Sent: 5_000_000_100,
			Connected: 5_000_020_000, FirstByte: 5_000_200_000, Done: 5_000_210_000,
			Source: netip.MustParseAddrPort("127.1.2.3:40000"), Status: 200,
			Worker: 3, Generation: 1, Written: 81, Received: 131,
		},
		{
			Scheduled: 7, Sent: 7, Done: 900, Source: netip.MustParseAddrPort("[fd00::1]:9"),
			Phase: PhaseConnect, Class: ClassTimeout, Worker: -1, Generation: -1,
		},
		{ // sent early, without an address
			Scheduled: 9000, Sent: 8999, Done: 9000, Phase: PhaseConnect, Class: ClassLocal,
			Errno: 98, Worker: -1, Generation: -1,
		},
		{
			Scheduled: 9000, Sent: 9001, Done: 12000, Status: 200, LastSent: 11000,
			Failed: []FailedTry{{FailureRefused, true}, {FailureUnanswered, false}},
		},
		{
			Scheduled: 9000, Sent: 9000, Done: 9900, Phase: PhaseBody, Class: ClassUnsent,
			GaveUp: GaveUpBudget, Worker: -1, Generation: -1,
		},
		{
			Scheduled: 9000, Sent: 9000, Done: 9900, Phase: PhaseBody, Class: ClassErrorAnswer,
			Status: 503, Worker: 4095, Generation: -1,
		},
		{
			Scheduled: 9000, Sent: 9000, Done: 9900, Phase: PhaseWait, Class: ClassReset,
			GaveUp: GaveUpBudget, Failed: []FailedTry{{FailureRefused, true}}, LastSent: 9001,
			Retriable: true, Worker: -1, Generation: -1,
		},
		{Scheduled: 9000, Sent: 9000, Done: 9900, Status: 200, Unverified: true},
	}
}

func TestSampleRoundTrip(t *testing.T) {
	var b []byte
	want := testSamples()
	for i := range want {
		b = want[i].Append(b)
	}
	r := SampleReader{R: bufio.NewReader(bytes.NewReader(b))}
	var got []Sample
	for {
		var s Sample
		if err := r.Next(&s); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	if diff := cmp.Diff(got, want, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestSampleTruncated(t *testing.T) {
	whole := testSamples()[0]
	b := whole.Append(nil)
	for n := 1; n < len(b); n++ {
		var s Sample
		r := SampleReader{R: bufio.NewReader(bytes.NewReader(b[:n]))}
		if err := r.Next(&s); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("first %d bytes: got %v, want %v", n, err, io.ErrUnexpectedEOF)
		}
	}
}

func FuzzSampleReader(f *testing.F) {
	for _, s := range testSamples() {
		f.Add(s.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := SampleReader{R: bufio.NewReader(bytes.NewReader(b))}
		var s Sample
		for r.Next(&s) == nil {
			again := SampleReader{R: bufio.NewReader(bytes.NewReader(s.Append(nil)))}
			var s2 Sample
			if err := again.Next(&s2); err != nil {
				t.Fatalf("%+v, encoded again, cannot be decoded: %v", s, err)
			}
		}
	})
}
