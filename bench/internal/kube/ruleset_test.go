package kube

import (
	"net/netip"
	"strings"
	"testing"

	"sigs.k8s.io/knftables"

	"reuseport-bench/servers/testkit"
)

func TestUsed(t *testing.T) {
	for _, c := range []struct {
		name string
		all  []Endpoint
		want string
	}{
		{"none", nil, ""},
		{"ready ones", []Endpoint{ready("a", 1), unready("b", 2), ready("c", 3)}, "a c"},
		{"terminating beside ready", []Endpoint{ready("a", 1), terminating("b", 2)}, "a"},
		{"terminating alone", []Endpoint{unready("a", 1), terminating("b", 2), terminating("c", 3)}, "b c"},
		{"terminating and unready", []Endpoint{{Pod: "a", Terminating: true}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, e := range (Service{Endpoints: c.all}).Used() {
				got = append(got, e.Pod)
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestRuleset applies the changes of a service to a table, one after the other. Each golden file
// has a transaction and the table after it.
func TestRuleset(t *testing.T) {
	nft := knftables.NewFake(knftables.IPv4Family, tableName)
	var current ruleset
	for i, step := range []struct {
		name     string
		services []Service
	}{
		{"1-created", nil},
		{"2-no-endpoints", web(unready("a", 8001))},
		{"3-two", web(ready("a", 8001), ready("b", 8002))},
		{"4-one-terminating", web(terminating("a", 8001), ready("b", 8002))},
		{"5-all-terminating", web(terminating("a", 8001), terminating("b", 8002))},
		{"6-headless-beside", append(web(), Service{Name: "db", Endpoints: []Endpoint{ready("c", 5432)}})},
	} {
		wanted, err := newRuleset(step.services)
		if err != nil {
			t.Fatal(err)
		}
		tx := nft.NewTransaction()
		if i == 0 {
			createTable(tx)
		}
		change(tx, current, wanted)
		current = wanted
		if err := nft.Run(t.Context(), tx); err != nil {
			t.Fatalf("%s: %v\n%s", step.name, err, tx)
		}
		testkit.Golden(t, step.name+".nft", "# transaction\n"+tx.String()+"\n# table\n"+nft.Dump())

		again := nft.NewTransaction()
		if change(again, current, wanted); again.NumOperations() != 0 {
			t.Errorf("%s: the same ruleset again: %s, want no operations", step.name, again)
		}
	}
}

func TestRulesetRefuses(t *testing.T) {
	v6 := netip.MustParseAddrPort("[2001:2::1]:80")
	for _, c := range []struct {
		service Service
		want    string
	}{
		{Service{Name: "a/b", Address: serviceAddress}, `service a/b: name "a/b"`},
		{Service{Name: "v6", Address: v6},
			"service v6: [2001:2::1]:80: want an IPv4 address"},
		{Service{Name: "web", Address: serviceAddress, Endpoints: []Endpoint{ready("p", 0)}},
			"service web: endpoint p: 198.18.0.1:0: want an IPv4 address"},
	} {
		_, err := newRuleset([]Service{c.service})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("error %v, want one that begins with %s", err, c.want)
		}
	}
}
