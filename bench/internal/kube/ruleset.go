package kube

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"sigs.k8s.io/knftables"
)

// The layout and the names are those of kube-proxy's nftables mode (kubernetes,
// pkg/proxy/nftables/proxier.go), without the features that no service here uses: node ports,
// external addresses, session affinity, source ranges, traffic policies.
const (
	tableName       = "kube-proxy"
	servicesChain   = "services"
	checkChain      = "service-endpoints-check"
	rejectChain     = "reject-chain"
	markChain       = "mark-for-masquerade"
	masqueradeChain = "masquerading"
	serviceMap      = "service-ips"
	noEndpointMap   = "no-endpoint-services"

	servicePrefix  = "service-"
	endpointPrefix = "endpoint-"

	masqueradeMark = "0x4000" // kube-proxy's default, --iptables-masquerade-bit 14
)

// baseChains returns the chains that the kernel enters. The filter chains come just before dstnat,
// because the connections to reject are recognised by their destination before DNAT.
func baseChains() []*knftables.Chain {
	base := func(
		name string, kind knftables.BaseChainType, hook knftables.BaseChainHook,
		priority knftables.BaseChainPriority,
	) *knftables.Chain {
		return &knftables.Chain{Name: name, Type: &kind, Hook: &hook, Priority: &priority}
	}
	const (
		filter, nat = knftables.FilterType, knftables.NATType
		dnat, snat  = knftables.DNATPriority, knftables.SNATPriority
	)
	return []*knftables.Chain{
		base("filter-input", filter, knftables.InputHook, dnat+"-10"),
		base("filter-forward", filter, knftables.ForwardHook, dnat+"-10"),
		base("filter-output", filter, knftables.OutputHook, dnat+"-10"),
		base("nat-prerouting", nat, knftables.PreroutingHook, dnat),
		base("nat-output", nat, knftables.OutputHook, dnat),
		base("nat-postrouting", nat, knftables.PostroutingHook, snat),
	}
}

// createTable creates the table. If the table exists, the same transaction deletes it first.
func createTable(tx *knftables.Transaction) {
	table := &knftables.Table{Comment: knftables.PtrTo("services, as kube-proxy programs them")}
	tx.Add(table)
	tx.Delete(table)
	tx.Add(table)
	for _, c := range baseChains() {
		tx.Add(c)
	}
	for _, name := range []string{
		servicesChain, checkChain, rejectChain, markChain, masqueradeChain,
	} {
		tx.Add(&knftables.Chain{Name: name})
	}
	for _, name := range []string{serviceMap, noEndpointMap} {
		tx.Add(&knftables.Map{Name: name, Type: "ipv4_addr . inet_proto . inet_service : verdict"})
	}
	rule := func(chain string, words ...any) {
		tx.Add(&knftables.Rule{Chain: chain, Rule: knftables.Concat(words...)})
	}
	for _, hook := range []string{"filter-input", "filter-forward", "filter-output"} {
		rule(hook, "ct state new jump", checkChain)
	}
	rule("nat-prerouting", "jump", servicesChain)
	rule("nat-output", "jump", servicesChain)
	rule("nat-postrouting", "jump", masqueradeChain)
	rule(checkChain, "ip daddr . meta l4proto . th dport vmap", "@", noEndpointMap)
	rule(servicesChain, "ip daddr . meta l4proto . th dport vmap", "@", serviceMap)
	// Even for TCP this sends an ICMP "port unreachable" (nft(8), REJECT STATEMENT). If it arrives
	// while the client is still in the system call connect(2), the connection is refused only after
	// the SYN is repeated (tcp_v4_err in net/ipv4/tcp_ipv4.c: the socket has an owner).
	rule(rejectChain, "reject")
	rule(markChain, "mark set mark or", masqueradeMark)
	rule(masqueradeChain, "mark and", masqueradeMark, "== 0 return")
	rule(masqueradeChain, "mark set mark xor", masqueradeMark)
	rule(masqueradeChain, "masquerade fully-random")
}

// A ruleset is the part of the table that depends on services: the rules in the services' chains,
// and the elements of the two maps.
type ruleset struct {
	chains   map[string][]string
	elements map[element]string // maps each element to its verdict
}

type element struct{ in, address, port string }

func (e element) object(verdict string) *knftables.Element {
	return &knftables.Element{
		Map: e.in, Key: []string{e.address, "tcp", e.port}, Value: []string{verdict},
	}
}

// newRuleset returns the ruleset for the services. It returns an error if a service's name or
// address cannot be used in rules.
func newRuleset(services []Service) (ruleset, error) {
	set := ruleset{chains: map[string][]string{}, elements: map[element]string{}}
	var errs []error
	for _, s := range services {
		if s.Address == (netip.AddrPort{}) {
			continue
		}
		if err := set.add(s); err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", s.Name, err))
		}
	}
	return set, errors.Join(errs...)
}

func (set ruleset) add(s Service) error {
	if err := checkName(s.Name); err != nil {
		return err
	}
	if err := checkAddress(s.Address); err != nil {
		return err
	}
	port := fmt.Sprint(s.Address.Port())
	used := s.Used()
	if len(used) == 0 {
		set.elements[s.element(noEndpointMap)] = "goto " + rejectChain
		return nil
	}
	chain := s.chain()
	set.elements[s.element(serviceMap)] = "goto " + chain
	var choices []string
	for i, e := range used {
		if err := checkAddress(e.Address); err != nil {
			return fmt.Errorf("endpoint %s: %w", e.Pod, err)
		}
		to := fmt.Sprintf("%s%s/tcp/%s/%s/%d",
			endpointPrefix, s.Name, port, e.Address.Addr(), e.Address.Port())
		choices = append(choices, fmt.Sprintf("%d : goto %s", i, to))
		set.chains[to] = []string{
			// Masquerade a connection from a pod through the service to itself. Otherwise the pod
			// would see its own address as the source and answer directly.
			knftables.Concat("ip saddr", e.Address.Addr().String(), "jump", markChain),
			knftables.Concat("meta l4proto tcp dnat to", e.Address.String()),
		}
	}
	set.chains[chain] = []string{fmt.Sprintf("numgen random mod %d vmap { %s }",
		len(used), strings.Join(choices, " , "))}
	return nil
}

func checkAddress(a netip.AddrPort) error {
	if !a.Addr().Is4() || a.Port() == 0 {
		return fmt.Errorf("%v: want an IPv4 address and a port", a)
	}
	return nil
}

// change adds to the transaction the commands that turn the current rules into the wanted ones:
// first those for chains, then those for the elements that lead to them. It empties the chains that
// are no longer used and returns their names. Such chains are deleted later, as in kube-proxy:
// before Linux 6.2 the kernel treats a chain as in use for a moment after the last element that
// names it was deleted.
func change(tx *knftables.Transaction, current, wanted ruleset) (stale []string) {
	sorted := slices.Sorted(maps.Keys(wanted.chains))
	var changed []string
	for _, name := range sorted {
		rules, exists := current.chains[name]
		if exists && slices.Equal(rules, wanted.chains[name]) {
			continue
		}
		changed = append(changed, name)
		// Add all chains before any rules, because a rule may lead to any chain. An unused chain of
		// that name may still exist, so flush it.
		tx.Add(&knftables.Chain{Name: name})
		tx.Flush(&knftables.Chain{Name: name})
	}
	for _, name := range changed {
		for _, r := range wanted.chains[name] {
			tx.Add(&knftables.Rule{Chain: name, Rule: r})
		}
	}
	for _, e := range sortedElements(current.elements) {
		if wanted.elements[e] != current.elements[e] {
			tx.Delete(e.object(current.elements[e]))
		}
	}
	for _, e := range sortedElements(wanted.elements) {
		if wanted.elements[e] != current.elements[e] {
			tx.Add(e.object(wanted.elements[e]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(current.chains)) {
		if _, used := wanted.chains[name]; !used {
			tx.Flush(&knftables.Chain{Name: name})
			stale = append(stale, name)
		}
	}
	return stale
}

// rewrite adds to the transaction the commands that write the rules of the services that have
// changed, although their rules have not.
func rewrite(tx *knftables.Transaction, rules ruleset, before, now []Service) {
	for _, s := range now {
		same := func(old Service) bool {
			return old.Name == s.Name && slices.Equal(old.Endpoints, s.Endpoints)
		}
		if s.Address == (netip.AddrPort{}) || slices.ContainsFunc(before, same) {
			continue
		}
		if chain := s.chain(); rules.chains[chain] != nil {
			tx.Flush(&knftables.Chain{Name: chain})
			for _, r := range rules.chains[chain] {
				tx.Add(&knftables.Rule{Chain: chain, Rule: r})
			}
			continue
		}
		none := s.element(noEndpointMap)
		tx.Delete(none.object(rules.elements[none])) // the kernel does not announce a repeated Add
		tx.Add(none.object(rules.elements[none]))
	}
}

// element returns the element for the service in a map.
func (s Service) element(in string) element {
	return element{in, s.Address.Addr().String(), fmt.Sprint(s.Address.Port())}
}

// chain returns the name of the chain that chooses an endpoint of the service.
func (s Service) chain() string {
	return fmt.Sprintf("%s%s/tcp/%d", servicePrefix, s.Name, s.Address.Port())
}

func sortedElements(m map[element]string) []element {
	return slices.SortedFunc(maps.Keys(m), func(a, b element) int {
		return strings.Compare(a.in+" "+a.address+" "+a.port, b.in+" "+b.address+" "+b.port)
	})
}
