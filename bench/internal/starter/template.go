package starter

const scenarioText = `# My program is {{.Program.Is}}.
# Today: {{.Restart.Is}}.
# When does it matter how its workers listen? {{.Program.Matters}}
#
# 'reuseport-bench show FILE' prints every setting with its default, 'run --dry-run FILE' what will
# be done. Change any value: mistakes are reported with their line.
name: {{.Name}}
{{- if eq .Restart.Name "none"}}
about: Who serves, and how long does it take, with one queue for all workers and with one each?
{{- else if eq .Restart.Path "service"}}
about: What does a rolling update lose, and does a preStop delay help?
{{- else}}
about: What does our restart lose, and would another way lose less?
{{- end}}
{{if eq .Restart.Path "haproxy"}}
path: haproxy               # a real HAProxy in front of the workers
{{- else if eq .Restart.Path "service"}}
network: cluster            # each worker is a pod with a network of its own
path: service               # clients connect to the address of a Kubernetes Service
{{- end}}
workers: {{.Answers.Workers}}
server:
  kind: {{.Program.Kind}}
  # How long one request takes. sleep waits without using a CPU. burn uses one, so the machine needs
  # one for each worker.
  # Some requests are slow: {sleep: 2ms, distribution: bimodal, slow: 40ms, slow_share: 0.03}
  work: {{"{"}}{{.Uses}}: {{.Work}}{{"}"}}
{{- if and .Program.Accept (ne .Restart.Name "none")}}
accept: {{.Program.Accept}}
{{- end}}

load:
  # New connections a second. {{.Answers.Rate}}/s × {{.Work}} {{.Load}}.
  rate: {{.Answers.Rate}}/s
  duration: {{.Duration}}
{{- if eq .Restart.Name "none"}}
  pace: poisson             # as from many independent clients
{{- end}}
  timeout: {{.Timeout}}            # an attempt without an answer by then is lost
{{if eq .Restart.Name "none"}}
matrix:
{{- if eq .Program.Name "node-cluster"}}
  # In strict turn, or only to workers that have acknowledged their last one, as Node.js does.
  - {sockets: [shared], accept: [acceptor-ack, acceptor]}
  - {sockets: [shared], accept: [epoll]}
baseline: {accept: acceptor-ack}
{{- else if .Program.Accept}}
  - {sockets: [shared, reuseport], accept: [{{.Program.Accept}}]}
baseline: {sockets: shared}
{{- else}}
  - {sockets: [shared, reuseport]}
baseline: {sockets: shared}
{{- end}}
{{else if eq .Restart.Path "service"}}
timeline:
  - {at: 500ms, do: rolling-update}

# Ready when a probe is answered; endpoints follow 100 ms later.
kube: {readiness: probe, probe_period: 50ms, endpoint_lag: 100ms}

# A deleted pod goes on for pre_stop before it is told to stop. How it stops:
{{- range .Stops}}
#   {{.}}
{{- end}}
matrix:
  - kube.pre_stop: [0s, 1s]
    stop: [{{.Today.Stop}}, drain]
baseline: {kube.pre_stop: 0s, stop: {{.Today.Stop}}} # others are compared with it
{{else}}
{{- if eq .Restart.Path "haproxy"}}
timeline:
  - {at: 1s, every: {{.Every}}, do: roll}
{{else}}
timeline:
  - {at: 300ms, every: {{.Every}}, do: replace} # all workers, eight times a trial
{{end}}
# How a worker stops:
{{- range .Stops}}
#   {{.}}
{{- end}}
matrix:
{{- range .Blocks}}
  - {{.}}
{{- end}}
baseline: {sockets: {{.Today.Sockets}}, stop: {{.Today.Stop}}} # today; others are compared with it
{{end}}
trials: 8
min_valid: 4                # with fewer valid trials of a variant there is no verdict

# For CI: a gate that fails makes the exit status 1. {{.Gate.Why}}
{{- if ne .Restart.Name "none"}}
# Once you restart in a way that loses nothing, name it in 'when', and expect dropped == 0.
{{- end}}
# gates:
#   - when: {{.Gate.When}}
#     expect: {{.Gate.Expect}}
`
