package vocabulary

import (
	"slices"
	"strings"
)

// A Word is a setting of a scenario that has a fixed list of allowed values.
type Word struct {
	Setting string // its path in a scenario file, for example server.kind
	Noun    string // the noun for one of its values, for example "server kind"
	Values  []Value
}

// A Value is one allowed value of a word.
type Value struct {
	Name string
	Doc  string // its meaning, as a phrase
	// Phrase is the text that stands for the value in sentences of reports, for example "one shared
	// socket". For stop modes and steps it begins with a participle, as in "closing the listener".
	// It may be "".
	Phrase string
	// Needs lists the requirements of the value: settings such as "server.kind: http", "root", and
	// probes of package doctor that must answer yes, such as "probe veth".
	Needs []string
	// Source is a manual page, a kernel source file or a URL with more information. It is often "".
	Source string
}

// Words returns all words.
func Words() []Word {
	return []Word{
		{"network", "network", values(networks)},
		{"family", "IP version", values(families)},
		{"path", "path", values(paths)},
		{"haproxy.checks", "health check", values(healthChecks)},
		{"haproxy.redispatch", "switch", values(redispatches)},
		{"dns.cache", "DNS cache", values(dnsCaches)},
		{"kube.control", "control plane", values(controls)},
		{"kube.proxy_mode", "mode of kube-proxy", values(proxyModes)},
		{"kube.placement", "placement of pods", values(placements)},
		{"kube.users", "user ids", values(users)},
		{"kube.readiness", "readiness of pods", values(readinesses)},
		{"pin", "pinning", values(pins)},
		{"sockets", "way to listen", values(socketModes)},
		{"accept", "way to accept", values(acceptModes)},
		{"selector", "selector", values(selectors)},
		{"stop", "stop mode", values(stopModes)},
		{"stall", "way to stall", values(stalls)},
		{"trace", "switch", values(traces)},
		{"queue_depth", "source of queue lengths", values(queueDepths)},
		{"server.kind", "server kind", values(serverKinds)},
		{"server.start", "way to start", values(starts)},
		{"server.listen", "address to bind", values(listens)},
		{"server.users", "user ids", values(users)},
		{"server.work.distribution", "distribution", values(distributions)},
		{"load.pace", "pace", values(paces)},
		{"load.connections", "way to get a connection", values(connections)},
		{"load.retry.on", "failure that is retried", values(retryCauses)},
		{"load.retry.jitter", "jitter", values(jitters)},
		{"timeline[].do", "step", values(stepKinds)},
	}
}

// Values returns the values of the setting at path, or nil if that setting is not a word.
func Values(path string) []Value {
	all := Words()
	if i := slices.IndexFunc(all, func(w Word) bool { return w.Setting == path }); i >= 0 {
		return all[i].Values
	}
	return nil
}

// Phrase returns the phrase of a value of the setting at path, or "" if the value has none.
func Phrase(path, value string) string {
	all := Values(path)
	if i := slices.IndexFunc(all, func(v Value) bool { return v.Name == value }); i >= 0 {
		return all[i].Phrase
	}
	return ""
}

// A Row is a row of a table in which values have an explanation and no properties.
type Row[T ~string] struct {
	Name T
	Doc  string
}

func (r Row[T]) value() Value { return Value{Name: string(r.Name), Doc: r.Doc} }

// A PhrasedRow is a Row whose value has a phrase.
type PhrasedRow[T ~string] struct {
	Name        T
	Doc, Phrase string
}

func (r PhrasedRow[T]) value() Value {
	return Value{Name: string(r.Name), Doc: r.Doc, Phrase: r.Phrase}
}

// A row is implemented by the rows of all tables.
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

// rowOf returns the row of a value, or the zero row if the table has none.
func rowOf[R row, T ~string](table []R, name T) (r R) {
	if i := slices.IndexFunc(table,
		func(r R) bool { return r.value().Name == string(name) }); i >= 0 {
		return table[i]
	}
	return r
}

// Only lists the values of another word with which a value works, and the reason why it does not
// work with that word's remaining values. The zero value allows all.
type Only[T ~string] struct {
	Values []T
	Why    string
}

// Allows reports whether the value works with v.
func (o Only[T]) Allows(v T) bool { return len(o.Values) == 0 || slices.Contains(o.Values, v) }

// needs returns the entries of Value.Needs that say that the setting must have one of o's values.
func (o Only[T]) needs(setting string) []string {
	if len(o.Values) == 0 {
		return nil
	}
	return []string{setting + ": " + Join(o.Values, " or ")}
}

// A Capability is a feature that a machine may lack. Its value is the name of the probe for the
// feature in package doctor.
type Capability string

// NeedsRoot reports whether only root has the capability. An ordinary user can get every other
// capability with the help of a user namespace.
func (c Capability) NeedsRoot() bool {
	return slices.Contains([]Capability{
		Kubernetes, Cgroups, Overlayfs, UserIDs, SKReuseport, SKMigrate, SockArray, TraceIterTCP,
	}, c)
}

// capabilityNeeds returns the entries of Value.Needs for capabilities. The entry "root" stands for
// all capabilities that only root has.
func capabilityNeeds(all []Capability) (needs []string) {
	for _, c := range all {
		need := "probe " + string(c)
		if c.NeedsRoot() {
			need = "root"
		}
		if !slices.Contains(needs, need) {
			needs = append(needs, need)
		}
	}
	return needs
}

// The capabilities that values need.
const (
	Veth            Capability = "veth"
	Netem           Capability = "netem"
	TUN             Capability = "tun"
	NFTables        Capability = "nftables"
	Conntrack       Capability = "conntrack"
	NFTablesCommand Capability = "nft"
	HAProxyCommand  Capability = "haproxy"
	Kubernetes      Capability = "kubernetes"
	Cgroups         Capability = "cgroups"
	Overlayfs       Capability = "overlayfs"
	UserIDs         Capability = "user_ids"
	EpollExclusive  Capability = "epollexclusive"
	IncomingCPU     Capability = "so_incoming_cpu"
	TCPMigrateReq   Capability = "tcp_migrate_req"
	SKReuseport     Capability = "sk_reuseport"
	SKMigrate       Capability = "sk_reuseport/migrate"
	SockArray       Capability = "reuseport_sockarray"
	TraceIterTCP    Capability = "iter/tcp"
)
