package vocabulary

import (
	"slices"
	"strings"
)

// A Word is a setting of a scenario that has one of a list of values.
type Word struct {
	Setting string // its path in a scenario file, for example server.kind
	Values  []Value
}

// A Value is one value of a word, and what it means.
type Value struct{ Name, Doc string }

// Words returns all words.
func Words() []Word {
	return []Word{
		{"network", values(networks)},
		{"family", values(families)},
		{"path", values(paths)},
		{"haproxy.checks", values(healthChecks)},
		{"haproxy.redispatch", values(redispatches)},
		{"dns.cache", values(dnsCaches)},
		{"kube.placement", values(placements)},
		{"kube.users", values(users)},
		{"kube.readiness", values(readinesses)},
		{"pin", values(pins)},
		{"sockets", values(socketModes)},
		{"accept", values(acceptModes)},
		{"selector", values(selectors)},
		{"stop", values(stopModes)},
		{"stall", values(stalls)},
		{"trace", values(traces)},
		{"queue_depth", values(queueDepths)},
		{"server.kind", values(serverKinds)},
		{"server.start", values(starts)},
		{"server.listen", values(listens)},
		{"server.users", values(users)},
		{"server.work.distribution", values(distributions)},
		{"load.pace", values(paces)},
		{"load.connections", values(connections)},
		{"load.retry.on", values(retryCauses)},
		{"load.retry.jitter", values(jitters)},
		{"timeline[].do", values(stepKinds)},
	}
}

// Values returns the values of the word that is the setting at path; nil if that is no word.
func Values(path string) []Value {
	all := Words()
	if i := slices.IndexFunc(all, func(w Word) bool { return w.Setting == path }); i >= 0 {
		return all[i].Values
	}
	return nil
}

// A Row is a row of a table that says no more than what its value means.
type Row[T ~string] struct {
	Name T
	Doc  string
}

func (r Row[T]) value() Value { return Value{string(r.Name), r.Doc} }

// A row is a row of any table.
type row interface{ value() Value }

func values[R row](table []R) []Value {
	var all []Value
	for _, r := range table {
		all = append(all, r.value())
	}
	return all
}

// Join returns the values with sep between them.
func Join[T ~string](all []T, sep string) string {
	var names []string
	for _, v := range all {
		names = append(names, string(v))
	}
	return strings.Join(names, sep)
}

// rowOf returns the row of a value; the zero row if the table has none.
func rowOf[R row, T ~string](table []R, name T) (r R) {
	if i := slices.IndexFunc(table,
		func(r R) bool { return r.value().Name == string(name) }); i >= 0 {
		return table[i]
	}
	return r
}

// Only lists the values of another word that a value works with, and why not with others. The zero
// value allows all.
type Only[T ~string] struct {
	Values []T
	Why    string
}

// Allows reports whether the value works with v.
func (o Only[T]) Allows(v T) bool { return len(o.Values) == 0 || slices.Contains(o.Values, v) }

// A Capability is something that a machine may lack: the name of the probe of doctor that looks for
// it.
type Capability string

// The capabilities that values need.
const (
	Veth            Capability = "veth"
	Netem           Capability = "netem"
	TUN             Capability = "tun"
	NFTables        Capability = "nftables"
	Conntrack       Capability = "conntrack"
	NFTablesCommand Capability = "nft"
	HAProxyCommand  Capability = "haproxy"
	UserIDs         Capability = "user_ids"
	EpollExclusive  Capability = "epollexclusive"
	IncomingCPU     Capability = "so_incoming_cpu"
	TCPMigrateReq   Capability = "tcp_migrate_req"
	SKReuseport     Capability = "sk_reuseport"
	SKMigrate       Capability = "sk_reuseport/migrate"
	SockArray       Capability = "reuseport_sockarray"
	TraceIterTCP    Capability = "iter/tcp"
)
