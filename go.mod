module reuseport-bench

go 1.26.0

// Imported by the program.
require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // response times: histograms that merge
	github.com/aclements/go-moremath v0.0.0-20210112150236-f10218a38794 // exact Mann-Whitney test
	github.com/cilium/ebpf v0.22.0 // loads the selectors and the kernel traces
	github.com/cloudflare/tableflip v1.2.3 // stop mode tableflip
	github.com/coreos/go-systemd/v22 v22.7.0 // socket activation: reads LISTEN_FDS
	github.com/expr-lang/expr v1.17.8 // parses the expressions of gates
	github.com/go-json-experiment/json v1.27.2 // reads JSON strictly, as a stream: encoding/json/v2 of Go 1.27
	github.com/google/nftables v0.3.0 // rules of the faults and probes, and of kube-proxy, over netlink
	github.com/invopop/jsonschema v0.14.0 // the JSON Schema of scenario files
	github.com/mattn/go-shellwords v1.0.16 // splits the commands of foreign servers
	github.com/mdlayher/netlink v1.11.2 // the instant at which nftables rules take effect
	github.com/miekg/dns v1.1.73 // DNS of path dns: server and caching clients
	github.com/olekukonko/tablewriter v1.1.5 // tables as text and Markdown
	github.com/spf13/cobra v1.10.2 // commands and flags
	github.com/spf13/pflag v1.0.10 // what is wrong with a flag, as types
	github.com/tsenart/vegeta/v12 v12.13.0 // open-loop load
	github.com/vishvananda/netlink v1.3.1 // links, addresses, routes and conntrack of the labs
	go.yaml.in/yaml/v4 v4.0.0 // scenario files, with the line of each value
	golang.org/x/sys v0.49.0 // system calls
	golang.org/x/term v0.46.0 // whether standard error is a terminal
	gonum.org/v1/gonum v0.17.0 // distributions and special functions
	sigs.k8s.io/knftables v0.0.22 // rules of a Service: kube-proxy's own library
)

// Imported by tests only.
require (
	github.com/google/go-cmp v0.7.0 // differences between got and want
	github.com/rogpeppe/go-internal v1.16.0 // testscript for the command, txtar for bad scenarios
	go.uber.org/goleak v1.3.0 // goroutines left behind
	golang.org/x/mod v0.41.0 // reads this file
	golang.org/x/perf v0.0.0-20260908200009-22c9c6c9d4da // reads report --format benchfmt as benchstat does
)

require (
	github.com/BurntSushi/toml v1.6.0 // indirect
	github.com/bahlo/generic-list-go v0.2.0 // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/buger/jsonparser v1.1.2 // indirect
	github.com/c2h5oh/datasize v0.0.0-20231215233829-aa82cc1e6500 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/clipperhouse/displaywidth v0.10.0 // indirect
	github.com/clipperhouse/uax29/v2 v2.6.0 // indirect
	github.com/fatih/color v1.18.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/influxdata/tdigest v0.0.1 // indirect
	github.com/josharian/intern v1.0.0 // indirect
	github.com/mailru/easyjson v0.7.7 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.22 // indirect
	github.com/mattn/go-runewidth v0.0.19 // indirect
	github.com/mdlayher/socket v0.6.1 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/olekukonko/cat v0.0.0-20250911104152-50322a0618f6 // indirect
	github.com/olekukonko/errors v1.2.0 // indirect
	github.com/olekukonko/ll v0.1.6 // indirect
	github.com/pb33f/ordered-map/v2 v2.3.1 // indirect
	github.com/prometheus/client_golang v1.19.1 // indirect
	github.com/prometheus/client_model v0.6.1 // indirect
	github.com/prometheus/common v0.55.0 // indirect
	github.com/prometheus/procfs v0.15.1 // indirect
	github.com/rs/dnscache v0.0.0-20230804202142-fc85eb664529 // indirect
	github.com/tsenart/go-tsz v0.0.0-20180814235614-0bd30b3df1c3 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	golang.org/x/exp/typeparams v0.0.0-20260209203927-2842357ff358 // indirect
	golang.org/x/net v0.59.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	google.golang.org/protobuf v1.34.2 // indirect
	honnef.co/go/tools v0.8.2 // indirect
)

tool (
	github.com/cilium/ebpf/cmd/bpf2go // make generate: compiles the eBPF programs
	github.com/tsenart/vegeta/v12 // make bench-engine: the stock vegeta
	honnef.co/go/tools/cmd/staticcheck // make check
)
