package report

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stored"
	"reuseport-bench/results/unit"
	"reuseport-bench/servers/testkit"
)

// A documentTable is a table in a document, made from runs in results/baseline.
type documentTable struct {
	heads   []string // heads of the columns that name the rows
	columns []documentColumn
	rows    []documentRow
}

// A documentRow is about one variant in a run.
type documentRow struct {
	names  []string
	run    string
	labels string // "stop=close load.rate=2000/s"
	// variant is the row's variant, instead of run and labels; nil: they select it.
	variant *results.Variant
	// moved maps the name of a run to the name of the run that replaces it in this row.
	moved map[string]string
}

// A documentColumn shows a metric of the row's variant, or a text.
type documentColumn struct {
	head     string
	metric   string
	interval bool
	none     string // text if the variant lacks the metric; "": –
	scale    string // such as "µs"; "": the same as in reports
	text     func(*results.Variant) string
	// run and labels choose a variant other than the row's: in another run, or with additional
	// labels. same replaces labels of the row; the value "" removes a label.
	run    string
	labels string
	same   map[string]string
}

// Tables in documents match the committed runs. The flag -update (make generate) rewrites them.
func TestDocuments(t *testing.T) {
	b := baselines{t, map[string]*results.Run{}}
	tables := map[string]string{}
	for name, table := range map[string]documentTable{
		"answer":             readmeAnswer(),
		"restart-matrix":     b.restarts(),
		"restart-rates":      b.restartRates(),
		"load-balancer":      b.loadBalancer(),
		"cold-start":         coldStart(),
		"endpoint-lag":       endpointLag(),
		"dns-ttl":            dnsTTL(),
		"rolling-update":     rollingUpdate(),
		"rules-lag":          rulesLag(),
		"pod-move":           podMove(),
		"service-shields":    serviceShields(),
		"drain-node":         drainNode(),
		"same-node-sharing":  sameNode(),
		"retries":            clientRetries(),
		"stale-conntrack":    staleConntrack(),
		"cold-start-service": coldStartService(),
		"scale":              scaleTable(),
		"server-restarts":    b.serverRestarts(),
		"kube-lags":          kubeLags(),
		"kube-rolling":       kubeRolling(),
		"kube-agreement":     b.kubeAgreement(),
		"pod-restart":        podRestart(),
		"kube-moves":         kubeMoves(),
	} {
		tables[name] = b.markdown(table)
	}
	testkit.Tables(t, testkit.Documents(t, "../.."), tables)
}

// baselines reads committed runs.
type baselines struct {
	t    *testing.T
	runs map[string]*results.Run
}

// variants returns the variants of the only scenario of a run, without A/A arms.
func (b baselines) variants(run string) []*results.Variant {
	b.t.Helper()
	if b.runs[run] == nil {
		r, err := stored.Load(filepath.Join("../baseline", run))
		if err != nil {
			b.t.Fatal(err)
		}
		b.runs[run] = r
	}
	if n := len(b.runs[run].Scenarios); n != 1 {
		b.t.Fatalf("%s has %d scenarios, want 1", run, n)
	}
	return slices.DeleteFunc(slices.Clone(b.runs[run].Scenarios[0].Variants),
		(*results.Variant).IsAA)
}

// variant returns the only variant in a run that has all the labels. The value "" means that the
// variant lacks the label.
func (b baselines) variant(run string, labels map[string]string) *results.Variant {
	b.t.Helper()
	found := slices.DeleteFunc(b.variants(run), func(v *results.Variant) bool {
		for key, value := range labels {
			if v.Labels[key] != value {
				return true
			}
		}
		return false
	})
	if len(found) != 1 {
		b.t.Fatalf("%s: %d variants have the labels %s, want 1", run, len(found),
			results.LabelString(labels))
	}
	return found[0]
}

// of returns the variant that a cell describes.
func (b baselines) of(row documentRow, column documentColumn) *results.Variant {
	if row.variant != nil {
		return row.variant
	}
	run := cmp.Or(column.run, row.run)
	run = cmp.Or(row.moved[run], run)
	labels := labelsOf(row.labels)
	for key, value := range column.same {
		if labels[key] = value; value == "" {
			delete(labels, key)
		}
	}
	maps.Copy(labels, labelsOf(column.labels))
	return b.variant(run, labels)
}

// labelsOf parses "sockets=shared stop=kill".
func labelsOf(text string) map[string]string {
	labels := map[string]string{}
	for _, label := range strings.Fields(text) {
		key, value, _ := strings.Cut(label, "=")
		labels[key] = value
	}
	return labels
}

// markdown writes a table. Each column has one scale, with its unit in the head.
func (b baselines) markdown(t documentTable) string {
	lines := make([]string, 2+len(t.rows))
	add := func(line int, cell string) { lines[line] += " " + cell + " |" }
	for i, head := range t.heads {
		add(0, head)
		add(1, "---")
		for k, row := range t.rows {
			add(2+k, row.names[i])
		}
	}
	for _, c := range t.columns {
		variants := make([]*results.Variant, len(t.rows))
		for i, row := range t.rows {
			variants[i] = b.of(row, c)
		}
		in := figureColumn{metric: c.metric}.scale(variants)
		if factor, set := map[string]float64{"µs": 1e3, "ms": 1e6}[c.scale]; set {
			in = unit.Scale{Name: c.scale, Factor: factor}
		}
		add(0, headIn(c.head, in))
		add(1, "--:")
		for i, v := range variants {
			add(2+i, c.cell(v, in))
		}
	}
	var text strings.Builder
	for _, line := range lines {
		text.WriteString("|" + line + "\n")
	}
	return text.String()
}

func (c documentColumn) cell(v *results.Variant, in unit.Scale) string {
	if c.text != nil {
		return c.text(v)
	}
	s, ok := v.Summary[c.metric]
	switch {
	case !ok:
		return cmp.Or(c.none, missing)
	case c.metric == metrics.DroppedPerStep && s.Hi != nil && *s.Hi == 0:
		return fmt.Sprintf("none in %d", s.N)
	case c.metric == metrics.Outage && s.Hi != nil && *s.Hi == 0:
		return "none"
	}
	return figure(s, metrics.UnitOf(c.metric), in, c.interval)
}

// Columns that are in several tables.
var (
	outageCell    = documentColumn{head: "outage", metric: metrics.Outage, interval: true}
	shareCell     = documentColumn{head: "share dropped in the outage", metric: metrics.LostShare}
	perStepCell   = documentColumn{head: "dropped", metric: metrics.DroppedPerStep, interval: true}
	predictedCell = documentColumn{head: "predicted", metric: metrics.PredictedLost}
	restartsCell  = documentColumn{head: "restarts", text: func(v *results.Variant) string {
		return restartCount(nil, nil, v)
	}}
	perRestartCell = documentColumn{
		head: "dropped/restart [95 %]", metric: metrics.DroppedPerRestart, interval: true,
	}
	halfOpenCell = documentColumn{
		head: "half-open lost", run: "half-open",
		same: map[string]string{"load.rate": "", "load.connections": ""},
		text: func(v *results.Variant) string {
			return strings.Replace(halfOpenCount(nil, nil, v), "/", " of ", 1)
		},
	}
	causesCell = documentColumn{head: "causes", text: func(v *results.Variant) string {
		var causes []string
		byCause := results.Total(v.ValidTrials()).LostByCause
		for _, name := range slices.Sorted(maps.Keys(byCause)) {
			if byCause[name] > 0 {
				causes = append(causes, fmt.Sprintf("%d `%s`", byCause[name], name))
			}
		}
		return cmp.Or(strings.Join(causes, ", "), missing)
	}}
)

// way describes the way in which a variant restarts, according to its labels.
func way(labels map[string]string) string {
	how := map[string]string{
		"reuseport": "one socket each", "shared": "one shared socket",
		"exclusive": "no `SO_REUSEPORT`",
	}[labels["sockets"]]
	if labels["server.kind"] == "http" {
		how += ", net/http"
	}
	return "`" + labels["stop"] + "`, " + how
}

// restartRows returns a row for each way of restarting, the one with the smallest losses first.
func (b baselines) restartRows() []documentRow {
	at := map[string]string{"load.rate": "2000/s", "load.connections": "new"}
	var variants []*results.Variant
	for _, v := range b.variants("restart-matrix") {
		// Exclusive sockets were measured again in a later run: see results/baseline/README.md.
		if results.Includes(v.Labels, at) && v.Labels["sockets"] != "exclusive" {
			variants = append(variants, v)
		}
	}
	moved := map[string]string{}
	for _, v := range b.variants("restart-matrix-bind") {
		if results.Includes(v.Labels, at) {
			variants = append(variants, v)
			moved = map[string]string{
				"restart-matrix-reused": "restart-matrix-bind",
				"restart-matrix-1000":   "restart-matrix-bind-1000",
			}
		}
	}
	slices.SortStableFunc(variants, func(a, b *results.Variant) int {
		return cmp.Compare(lossOf(a), lossOf(b))
	})
	var rows []documentRow
	for _, v := range variants {
		row := documentRow{
			names: []string{way(v.Labels)}, run: "restart-matrix",
			labels: results.LabelString(v.Labels),
		}
		if v.Labels["server.kind"] == "" {
			row.labels += " server.kind="
		}
		if v.Labels["sockets"] == "exclusive" {
			row.run, row.moved = "restart-matrix-bind", moved
		}
		rows = append(rows, row)
	}
	return rows
}

// readmeAnswer returns the table in README: the stop modes that readers may be using, and what to
// use instead.
func readmeAnswer() documentTable {
	const (
		at   = " load.rate=2000/s load.connections=new"
		each = "sockets=reuseport stop="
		loop = at + " server.kind="
	)
	handshakes := halfOpenCell
	handshakes.head = "handshakes lost"
	return documentTable{
		heads: []string{"stop mode", "what happens to the listening socket"},
		rows: slices.Concat(rowsOf("restart-matrix",
			"`handoff` | the new worker gets it from the old worker (HAProxy `-x`, Envoy)",
			"sockets=shared stop=handoff"+at,
			"`inherit` | a supervisor keeps it open (systemd socket activation, nginx's "+
				"master)",
			"sockets=shared stop=inherit"+at,
			"`bpf-drain` | one per worker; eBPF sends new connections to the new workers, then "+
				"the old workers close theirs",
			each+"bpf-drain"+at,
			"`migrate` | one per worker; the kernel moves the queue of a closed socket to another "+
				"(`tcp_migrate_req=1`)",
			each+"migrate"+at,
			"`drain` | one per worker; the old worker empties its queue, then closes",
			each+"drain"+loop,
			"`close` | one per worker; the old worker closes at once", each+"close"+at,
			"`tableflip` | cloudflare/tableflip passes it on, then the old worker calls Go's "+
				"`Shutdown`",
			each+"tableflip"+at,
			"`shutdown` | one per worker; the old worker calls Go's `http.Server.Shutdown`",
			each+"shutdown"+at,
			"`kill` | one per worker; the old worker is killed (a crash, the OOM killer)",
			each+"kill"+at,
		), rowsOf("restart-matrix-bind",
			"`bind-after-close` | the old worker closes it, then the new worker binds "+
				"(`systemctl restart`)",
			"stop=bind-after-close"+at,
		)),
		columns: []documentColumn{
			perRestartCell, {head: "gap", metric: metrics.Gap}, handshakes,
		},
	}
}

func (b baselines) restarts() documentTable {
	return documentTable{
		heads: []string{"way"}, rows: b.restartRows(),
		columns: []documentColumn{
			restartsCell, perRestartCell,
			{head: "drop window", metric: metrics.DropWindow, interval: true, scale: "µs"},
			halfOpenCell,
			{head: "gap", metric: metrics.Gap}, {head: "outage", metric: metrics.Outage},
			{head: "stall", metric: metrics.Stall}, {head: "takeover", metric: metrics.Takeover},
			{head: "tail", metric: metrics.Tail},
		},
	}
}

func (b baselines) restartRates() documentTable {
	at := func(head, run, rate, connections string) documentColumn {
		return documentColumn{
			head: head, metric: metrics.DroppedPerRestart, interval: true, run: run,
			same: map[string]string{"load.rate": rate, "load.connections": connections},
		}
	}
	return documentTable{
		heads: []string{"way"}, rows: b.restartRows(),
		columns: []documentColumn{
			at("2000/s, new", "", "2000/s", "new"),
			at("1000/s, new", "restart-matrix-1000", "1000/s", "new"),
			at("2000/s, kept connections", "restart-matrix-reused", "2000/s", "reused"),
			at("1000/s, kept", "restart-matrix-1000", "1000/s", "reused"),
		},
	}
}

func (b baselines) loadBalancer() documentTable {
	variants := b.variants("load-balancer")
	slices.SortStableFunc(variants, func(a, b *results.Variant) int {
		return cmp.Compare(lossOf(a), lossOf(b))
	})
	t := documentTable{
		heads: []string{"restart of two workers behind HAProxy", "checks", "connections"},
		columns: []documentColumn{
			restartsCell, perRestartCell,
			{head: "gap", metric: metrics.Gap}, {head: "outage", metric: metrics.Outage},
			{head: "stall", metric: metrics.Stall}, causesCell,
		},
	}
	for _, v := range variants {
		name := map[string]string{
			"bind-after-close": "unannounced", "lb-drain": "drained by HAProxy first",
			"drain": "`SO_REUSEPORT` behind one address",
		}[v.Labels["stop"]]
		if v.Labels["haproxy.redispatch"] == "on" {
			name += ", `option redispatch`"
		}
		t.rows = append(t.rows, documentRow{
			names: []string{name, v.Labels["haproxy.checks"], v.Labels["load.connections"]},
			run:   "load-balancer", labels: results.LabelString(v.Labels),
		})
	}
	return t
}

// serverRestarts returns a row for each third-party server and each of its restarts.
func (b baselines) serverRestarts() documentTable {
	t := documentTable{
		heads: []string{"scenario", "restart"},
		columns: []documentColumn{
			restartsCell, perRestartCell, {head: "gap", metric: metrics.Gap},
			{head: "takeover", metric: metrics.Takeover, scale: "ms"}, causesCell,
		},
	}
	for _, name := range []string{
		"nginx", "haproxy", "apache", "caddy", "gunicorn", "uvicorn", "node", "puma",
		"start-server", "socket-activation", "python",
	} {
		for _, v := range b.variants("servers/" + name) {
			var how []string
			for _, key := range results.LabelKeys(v.Labels) {
				if key == "restart" {
					how = append(how, "`"+v.Labels[key]+"`")
				} else if value := v.Labels[key]; value != "" {
					how = append(how, strings.TrimPrefix(key, "server.vars.")+": "+value)
				}
			}
			t.rows = append(t.rows, documentRow{
				names:   []string{"`" + name + "`", cmp.Or(strings.Join(how, ", "), missing)},
				variant: v,
			})
		}
	}
	return t
}

// rowsOf returns rows from one run. Each pair is a name and labels. A name may have several cells,
// separated by " | ".
func rowsOf(run string, pairs ...string) (rows []documentRow) {
	for i := 0; i < len(pairs); i += 2 {
		names := strings.Split(pairs[i], " | ")
		rows = append(rows, documentRow{names: names, run: run, labels: pairs[i+1]})
	}
	return rows
}

func coldStart() documentTable {
	return documentTable{
		heads: []string{"how the workers listen"},
		rows: rowsOf("cold-start",
			"one shared socket", "sockets=shared",
			"one socket each, `hash`", "sockets=reuseport selector=hash",
			"one socket each, `slow-start`", "sockets=reuseport selector=slow-start",
			"one socket each, `least-loaded`", "sockets=reuseport selector=least-loaded",
		),
		columns: []documentColumn{
			{head: "first response after", metric: metrics.FirstServed, interval: true},
			{head: "fair share after", metric: metrics.FairShare, interval: true,
				none: "not within the trial"},
			{head: "new worker's share while cold", metric: metrics.NewcomerShare, interval: true},
			{head: "new worker's p50", metric: metrics.NewcomerP50, interval: true},
			{head: "new worker's p99", metric: metrics.NewcomerP99, interval: true},
			{head: "other workers' p99", metric: metrics.OthersP99, interval: true, scale: "ms"},
		},
	}
}

func endpointLag() documentTable {
	dropped := perStepCell
	dropped.text = func(v *results.Variant) string {
		if v.Labels["path"] == "direct" { // the step of this variant removes no pod
			trials := v.ValidTrials()
			return fmt.Sprintf("%d in %s", results.Total(trials).Dropped,
				unit.Plural(len(trials), "trial"))
		}
		return documentColumn{metric: metrics.DroppedPerStep, interval: true}.cell(v, unit.Plain())
	}
	return documentTable{
		heads: []string{"setup"},
		rows: rowsOf("endpoint-lag",
			"SO_REUSEPORT, one host", "path=direct",
			"Service, lag 0", "kube.endpoint_lag=0s",
			"Service, lag 10 ms", "kube.endpoint_lag=10ms",
			"Service, lag 100 ms", "kube.endpoint_lag=100ms",
			"Service, lag 1 s", "kube.endpoint_lag=1s", "Service, lag 5 s", "kube.endpoint_lag=5s",
		),
		columns: []documentColumn{outageCell, shareCell, dropped, predictedCell},
	}
}

func dnsTTL() documentTable {
	return documentTable{
		heads: []string{"what a client caches"},
		rows: rowsOf("dns-ttl",
			"nothing; the client looks up the name for each connection", "dns.cache=none",
			"the answer, TTL 1 s", "dns.cache=ttl dns.ttl=1s",
			"the answer, TTL 3 s", "dns.cache=ttl dns.ttl=3s path=",
			"the first answer, forever (outage until the load ends)", "dns.cache=forever",
			"the Service's address, TTL 3 s", "path=service",
		),
		columns: []documentColumn{outageCell, shareCell, perStepCell},
	}
}

func rollingUpdate() documentTable {
	at := func(head, labels string) documentColumn {
		return documentColumn{
			head: head, metric: metrics.DroppedPerRestart, interval: true, labels: labels,
		}
	}
	return documentTable{
		heads: []string{"endpoints late by"},
		rows: rowsOf("rolling-update", "10 ms", "kube.endpoint_lag=10ms",
			"100 ms", "kube.endpoint_lag=100ms", "500 ms", "kube.endpoint_lag=500ms"),
		columns: []documentColumn{
			at("no readiness probe", "kube.readiness=started"),
			at("probe every 50 ms", "kube.readiness=probe kube.pre_stop=0s"),
			at("probe, preStop delay of 600 ms", "kube.pre_stop=600ms stop=close"),
			at("probe, preStop delay, drain on SIGTERM", "kube.pre_stop=600ms stop=drain"),
		},
	}
}

func rulesLag() documentTable {
	return documentTable{
		heads: []string{"minSyncPeriod", "preStop"},
		rows: rowsOf("rules-lag",
			"none | none", "kube.min_sync_period=0s kube.pre_stop=0s",
			"1 s | none", "kube.min_sync_period=1s kube.pre_stop=0s",
			"none | 1.5 s", "kube.min_sync_period=0s kube.pre_stop=1500ms",
			"1 s | 1.5 s", "kube.min_sync_period=1s kube.pre_stop=1500ms",
		),
		columns: []documentColumn{
			{head: "endpoints → rules", metric: metrics.RulesLag, interval: true},
			perStepCell, predictedCell,
		},
	}
}

func podMove() documentTable {
	return documentTable{
		heads: []string{"change"},
		rows: slices.Concat(
			rowsOf("pod-move",
				"pod moves, endpoints at once", "kube.endpoint_lag=0s",
				"pod moves, endpoints 100 ms late", "kube.endpoint_lag=100ms",
				"pod moves, endpoints 1 s late", "kube.endpoint_lag=1s kube.pre_stop=0s",
				"pod moves, endpoints 1 s late, preStop 1.5 s", "kube.pre_stop=1500ms"),
			rowsOf("node-down",
				"node down, noticed at once", "kube.node_lag=0s",
				"node down, noticed after 1 s", "kube.node_lag=1s load.connections=new",
				"node down, noticed after 4 s", "kube.node_lag=4s",
				"node down, noticed after 1 s, kept connections", "load.connections=reused"),
		),
		columns: []documentColumn{outageCell, shareCell, perStepCell, predictedCell},
	}
}

func serviceShields() documentTable {
	kept := documentColumn{
		head: "kept connections: dropped", metric: metrics.DroppedPerStep, interval: true,
		labels: "load.connections=reused",
	}
	outage, dropped := outageCell, perStepCell
	outage.head, outage.labels = "new connections: outage", "load.connections=new"
	dropped.labels = outage.labels
	return documentTable{
		heads: []string{"clients know"},
		rows: rowsOf("service-shields",
			"the Service's address", "path=service",
			"a name, cached for 1 s", "path=dns dns.cache=ttl",
			"a name, cached while a connection is open", "dns.cache=pool",
			"a name, cached forever (outage until the load ends)", "dns.cache=forever",
			"the pod's own address (outage until the load ends)", "path=pod",
		),
		columns: []documentColumn{outage, dropped, kept},
	}
}

func drainNode() documentTable {
	return documentTable{
		heads: []string{"pods"},
		rows: rowsOf("drain-node",
			"one pod", "workers=1 kube.pre_stop=0s",
			"one pod, preStop 1 s", "workers=1 kube.pre_stop=1s",
			"four pods, two on the drained node",
			"workers=4 kube.pre_stop=0s kube.min_available=0",
			"four pods, at least three available",
			"workers=4 kube.pre_stop=0s kube.min_available=3",
			"four pods, preStop 1 s", "workers=4 kube.pre_stop=1s kube.min_available=0",
			"four pods, at least three available, preStop 1 s",
			"workers=4 kube.pre_stop=1s kube.min_available=3",
		),
		columns: []documentColumn{outageCell, perStepCell, predictedCell, causesCell},
	}
}

func sameNode() documentTable {
	workers := func(head, metric string) documentColumn {
		return documentColumn{head: head, text: func(v *results.Variant) string {
			return ofWorkers(metric)(nil, nil, v)
		}}
	}
	return documentTable{
		heads: []string{"workers"},
		rows: rowsOf("same-node-sharing",
			"three pods on one node", "kube.placement=one-node",
			"three containers of one pod", "kube.placement=containers kube.users=one",
			"three pods on the host's network", "kube.placement=host-network",
			"three containers of one pod, each with its own user id", "kube.users=each",
		),
		columns: []documentColumn{
			workers("could listen", metrics.Listening),
			workers("got connections", metrics.Serving),
			{head: "largest share", metric: metrics.ShareMax, interval: true},
			{head: "smallest share", metric: metrics.ShareMin, interval: true},
		},
	}
}

func clientRetries() documentTable {
	return documentTable{
		heads: []string{"policy, request"},
		rows: rowsOf("retries",
			"no retry", "load.body=0 load.retry.max=0",
			"one immediate retry, GET", "load.body=0 load.retry.max=1",
			"one immediate retry, POST", "load.body=200 load.retry.max=1",
			"three retries with backoff, GET", "load.body=0 load.retry.max=3",
			"three retries with backoff, POST", "load.body=200 load.retry.max=3 load.retry.on=",
			"three retries with backoff, POST, `non-idempotent`",
			"load.retry.on=safe+non-idempotent",
		),
		columns: []documentColumn{
			{head: "dropped at the move", metric: metrics.DroppedPerStep, interval: true},
			{head: "dropped, of all attempts", metric: metrics.DroppedPerAttempt},
			{head: "tries per attempt", metric: metrics.Tries, none: "1"},
			{head: "masked, of all attempts", metric: metrics.Masked},
			{head: "p50 of masked", metric: metrics.MaskedP50},
			{head: "p99 of masked", metric: metrics.MaskedP99},
			{head: "read twice, of all attempts", metric: metrics.Repeated},
		},
	}
}

func staleConntrack() documentTable {
	old := documentColumn{head: "lost to old entries, in the 5 s after the " +
		"outage", text: func(v *results.Variant) string {
		trials := v.ValidTrials()
		return fmt.Sprintf("%d in %s", results.Total(trials).LostByCause["stale_conntrack"],
			unit.Plural(len(trials), "trial"))
	}}
	return documentTable{
		heads: []string{"source ports"},
		rows: rowsOf("stale-conntrack",
			"a new port for each connection", "load.ports=0",
			"600 ports in turn", "load.ports=600"),
		columns: []documentColumn{outageCell, perStepCell, predictedCell, old},
	}
}

func coldStartService() documentTable {
	return documentTable{
		heads: []string{"setup"},
		rows: rowsOf("cold-start-service",
			"SO_REUSEPORT, the kernel's hash", "sockets=reuseport selector=hash",
			"Service, endpoints 10 ms late", "kube.endpoint_lag=10ms kube.readiness=",
			"Service, endpoints 300 ms late", "kube.endpoint_lag=300ms",
			"Service, endpoints 10 ms late, probe every 300 ms", "kube.readiness=probe",
		),
		columns: []documentColumn{
			{head: "listening → ready", metric: metrics.PodReady},
			{head: "listening → in the rules", metric: metrics.PodRouted, interval: true},
			{head: "listening → first response", metric: metrics.FirstServed, interval: true},
			{head: "listening → fair share", metric: metrics.FairShare, interval: true},
			{head: "new worker's p50 while cold", metric: metrics.NewcomerP50, interval: true},
		},
	}
}

func scaleTable() documentTable {
	t := documentTable{
		heads: []string{"workers", "how they listen"},
		columns: []documentColumn{
			{head: "servers' CPU per attempt", metric: metrics.ServersCPUPerAttempt},
			{head: "load's CPU per attempt", metric: metrics.LoadCPUPerAttempt},
			{head: "p50", metric: metrics.ResponseP50, scale: "µs"},
			{head: "p99", metric: metrics.ResponseP99, scale: "µs"},
			{head: "context switches per connection", metric: metrics.Switches},
			{head: "start of all workers, longest [ms]", text: func(v *results.Variant) string {
				var longest int64
				for _, t := range v.ValidTrials() {
					longest = max(longest, t.StartNS)
				}
				return unit.Number(float64(longest) / 1e6)
			}},
			{head: "memory per worker [MB]", text: func(v *results.Variant) string {
				var most int64
				for _, t := range v.ValidTrials() {
					if t.Memory.WorkerProportionalBytes != nil {
						most = max(most, *t.Memory.WorkerProportionalBytes)
					}
				}
				return unit.Digits(float64(most)/1e6, 2)
			}},
		},
	}
	for _, how := range []struct{ name, labels, workers string }{
		{"`SO_REUSEPORT`, hash", "sockets=reuseport", "2 8 32 128 512 1024"},
		{"shared, `epoll-exclusive`", "accept=epoll-exclusive", "2 8 32 128 512 1024"},
		{"shared, `epoll`", "accept=epoll", "2 8 32 128"},
	} {
		for n := range strings.FieldsSeq(how.workers) {
			t.rows = append(t.rows, documentRow{
				names: []string{n, how.name}, run: "scale", labels: how.labels + " workers=" + n,
			})
		}
	}
	return t
}
