package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"

	"reuseport-bench/servers/clock"
)

// No commit is lost, even if 1000 come before the first is taken.
func TestCommitsAreKept(t *testing.T) {
	c := &commits{seen: make(chan struct{}, 1)}
	const n = 1000
	for i := range n {
		c.add(commit{at: clock.Instant(i)})
	}
	<-c.seen
	all := c.take()
	if len(all) != n {
		t.Fatalf("%d commits, want %d", len(all), n)
	}
	for i, one := range all {
		if one.at != clock.Instant(i) {
			t.Fatalf("commit %d was announced at %d, want %d", i, one.at, i)
		}
	}
	if again := c.take(); len(again) > 0 {
		t.Errorf("%d commits were taken twice", len(again))
	}
}

// A rule of iptables-nft sends connections to an address by an extension of iptables.
func TestDestinationOfIptables(t *testing.T) {
	info := &xt.NatRange2{NatRange: xt.NatRange{
		MinIP: []byte{198, 18, 10, 2}, MaxIP: []byte{198, 18, 10, 2}, MinPort: 8080, MaxPort: 8080,
	}}
	for _, c := range []struct {
		target expr.Target
		want   string
	}{
		{expr.Target{Name: "DNAT", Rev: 2, Info: info}, "198.18.10.2:8080"},
		{expr.Target{Name: "SNAT", Rev: 2, Info: info}, ""},
		{expr.Target{Name: "DNAT", Rev: 3, Info: &xt.Unknown{}}, ""},
	} {
		got := ""
		to, ok := destination(&nftables.Rule{Exprs: []expr.Any{&expr.Counter{}, &c.target}})
		if ok {
			got = to.String()
		}
		if diff := cmp.Diff(got, c.want); diff != "" {
			t.Errorf("%s, revision %d (-got +want):\n%s", c.target.Name, c.target.Rev, diff)
		}
	}
}
