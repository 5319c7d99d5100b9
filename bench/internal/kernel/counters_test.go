package kernel

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadCounters(t *testing.T) {
	counters, err := ReadCounters("testdata/linux-6.18/after")
	if err != nil {
		t.Fatal(err)
	}
	want := Counters{ // the values are explained in testdata/README.md
		"TcpActiveOpens": 29, "TcpPassiveOpens": 25, "TcpOutRsts": 15, "TcpEstabResets": 30,
		"TcpCurrEstab": 15, "TcpExtListenOverflows": 4, "TcpExtListenDrops": 4,
		"TcpExtTCPMigrateReqSuccess": 20, "TcpExtTCPAbortOnClose": 0, "TcpExtTW": 5,
		"TcpExtTCPAODroppedIcmps": 0,
		// counters of other protocols, and one with a negative value
		"IpExtInOctets": 5840, "MPTcpExtWinProbe": 0, "UdpNoPorts": 0, "TcpMaxConn": -1,
	}
	for name, value := range want {
		if got, found := counters[name]; !found || got != value {
			t.Errorf("%s = %d (found %v), want %d", name, got, found, value)
		}
	}
}

func TestCountersSince(t *testing.T) {
	before, err := ReadCounters("testdata/linux-6.18/before")
	if err != nil {
		t.Fatal(err)
	}
	after, err := ReadCounters("testdata/linux-6.18/after")
	if err != nil {
		t.Fatal(err)
	}
	moved := Counters{}
	for name, value := range after.Since(before) {
		if value != 0 {
			moved[name] = value
		}
	}
	want := Counters{
		"IpInReceives": 104, "IpInDelivers": 104, "IpOutRequests": 104, "IpOutTransmits": 104,
		"IpExtInOctets": 5840, "IpExtOutOctets": 5840, "IpExtInNoECTPkts": 104,
		"TcpActiveOpens": 29, "TcpPassiveOpens": 25, "TcpEstabResets": 30, "TcpCurrEstab": 15,
		"TcpInSegs": 104, "TcpOutSegs": 104, "TcpOutRsts": 15,
		"TcpExtTW": 5, "TcpExtDelayedACKs": 5, "TcpExtTCPPureAcks": 30, "TcpExtTCPDelivered": 30,
		"TcpExtTCPOrigDataSent": 5, "TcpExtListenOverflows": 4, "TcpExtListenDrops": 4,
		"TcpExtTCPMigrateReqSuccess": 20,
	}
	if diff := cmp.Diff(moved, want); diff != "" {
		t.Errorf("moved (-got +want):\n%s", diff)
	}
}

func TestCountersSinceKeepsAbsentAbsent(t *testing.T) {
	before := Counters{"TcpOutRsts": 9, "TcpExtGone": 1}
	got := Counters{"TcpOutRsts": 7, "IcmpMsgInType3": 2}.Since(before)
	want := Counters{"TcpOutRsts": -2, "IcmpMsgInType3": 2}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("Since (-got +want):\n%s", diff)
	}
}

func TestParseCounters(t *testing.T) {
	for _, test := range []struct {
		name, text, wantError string
		want                  Counters
	}{
		{name: "kernel without migration", text: "TcpExt: TW ListenDrops\nTcpExt: 3 0\n",
			want: Counters{"TcpExtTW": 3, "TcpExtListenDrops": 0}},
		{name: "no final newline", text: "Tcp: OutRsts\nTcp: 1", want: Counters{"TcpOutRsts": 1}},
		{name: "empty", text: "", wantError: "no counters"},
		{name: "cut after the names", text: "Tcp: OutRsts\n", wantError: "no counters"},
		{name: "fewer values", text: "Tcp: A B\nTcp: 1\n",
			wantError: "line 2: 3 names followed by 2 values"},
		{name: "pairs out of step", text: "Tcp: A\nUdp: 1\n", wantError: "line 2: "},
		{name: "blank lines", text: "\n\n", wantError: "line 2: "},
		{name: "no colon", text: "Tcp A\nTcp 1\n",
			wantError: `"Tcp" is not the name of a protocol`},
		{name: "not a number", text: "Tcp: A\nTcp: 1\nTcpExt: TW\nTcpExt: x\n",
			wantError: "line 4: TcpExtTW: "},
		{name: "endless line", text: strings.Repeat("x", maxCounterLine+1),
			wantError: "token too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Counters{}
			err := parseCounters(got, strings.NewReader(test.text))
			if test.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Fatalf("got error %v, want %q in it", err, test.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("counters (-got +want):\n%s", diff)
			}
		})
	}
}

func TestReadCountersOfNoProcess(t *testing.T) {
	if _, err := ReadCounters("/proc/0/net"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrNotExist)
	}
}
