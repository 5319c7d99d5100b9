package starter

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sys/unix"
)

// A Server describes a third-party server. Its method Scenario makes a scenario for the server.
type Server struct {
	Start     string // the command that starts it
	Directory string // the working directory of commands, an absolute path
	User      string // the user who runs them, if root starts this; "" means www-data or nobody
	// Restart is StopStart, the name of a signal, or a command. If it is "", a restart starts the
	// next instance and, when that is ready, stops the previous one.
	Restart string
	Ready   string        // a path that a ready server answers; "" means ready when it listens
	Path    string        // the path that the load requests; "" means Ready, or /
	Rate    string        // the load's rate, as in a scenario; "" means MostOfCapacity
	Note    string        // the reason for the rate, for a comment
	Every   time.Duration // the time between two restarts; 0 means 1 s
	// Connections are values of load.connections, one for each variant: "new", or a number of
	// connections that are kept. Without any, they are NewConnections and MostKept.
	Connections []string
	KeptNote    string // what Connections are, and why, for a comment
}

const (
	// NewConnections is the value of Server.Connections that opens a connection for each request.
	NewConnections = "new"
	// MostKept is the largest number of connections that are kept if the user gives none.
	MostKept = 200
)

// StopStart is the value of Server.Restart that stops the server and then starts it again.
const StopStart = "stop-start"

const (
	// These limit the rate if the user gives none: MostOfCapacity is a share of the capacity, and
	// MostRate is in requests per second.
	MostOfCapacity = 0.5
	MostRate       = 1000
)

// A block, one trial of each variant, has as many restarts as fit into about blockLimit, but at
// most mostRestarts in each of its trials; mostOfTwo, if there are two.
const (
	serverTrials   = 4
	mostRestarts   = 5
	mostOfTwo      = 3
	blockLimit     = 12 * time.Second
	beforeRestarts = 500 * time.Millisecond // the time under load before the first restart
)

// Signal returns the name, without SIG, of the signal that restarts the server. It returns "" if
// Restart is not a signal.
func (s Server) Signal() string {
	name := strings.TrimPrefix(strings.ToUpper(s.Restart), "SIG")
	if unix.SignalNum("SIG"+name) == 0 {
		return ""
	}
	return name
}

// Describe returns a description of the restart.
func (s Server) Describe() string {
	switch signal := s.Signal(); {
	case s.Restart == "":
		return "start the next instance, and stop the previous one with SIGTERM when the next is " +
			"ready"
	case s.Restart == StopStart:
		return "stop the server with SIGTERM, then start it again"
	case signal != "":
		return "send SIG" + signal + " to its main process"
	}
	return "run " + s.Restart
}

// Actions returns the actions of the restart as YAML.
func (s Server) Actions() string {
	switch signal := s.Signal(); {
	case s.Restart == "":
		return "[{start: next}, {wait: {ready: next}}, {stop: previous}]"
	case s.Restart == StopStart:
		return "[{stop: previous}, {start: next}]"
	case signal != "":
		return "[{signal: " + signal + "}]"
	}
	return "[{run: " + strconv.Quote(s.Restart) + "}]"
}

// Program returns the last element of the path of the program in Start.
func (s Server) Program() string {
	words := strings.Fields(s.Start)
	if len(words) == 0 {
		return ""
	}
	return path.Base(words[0])
}

// Name returns the name of the scenario, which is derived from Program.
func (s Server) Name() string {
	name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(s.Program()), "-")
	name = strings.Trim(name, "-")
	return strings.TrimRight("my-"+name[:min(len(name), 32)], "-")
}

// Asked returns the path that the load requests.
func (s Server) Asked() string {
	switch {
	case s.Path != "":
		return s.Path
	case s.Ready != "":
		return s.Ready
	}
	return "/"
}

// Scenario returns the text of a scenario that restarts the server under load.
func (s Server) Scenario() (string, error) {
	if s.Every == 0 {
		s.Every = time.Second
	}
	if len(s.Connections) == 0 {
		s.Connections = []string{NewConnections, strconv.Itoa(MostKept)}
	}
	variants, most := len(s.Connections), mostRestarts
	if variants > 1 {
		most = mostOfTwo
	}
	inTrial := blockLimit/time.Duration(variants) - beforeRestarts
	restarts := max(1, min(int(inTrial/s.Every), most))
	if s.Rate == "" {
		s.Rate = strconv.FormatFloat(MostOfCapacity, 'f', -1, 64) + "*capacity"
	}
	var b bytes.Buffer
	err := template.Must(template.New("server").
		Funcs(template.FuncMap{"quote": strconv.Quote, "text": text, "join": strings.Join}).
		Parse(serverText)).
		Execute(&b, map[string]any{
			"Server": s, "At": beforeRestarts, "Trials": serverTrials,
			"Duration": beforeRestarts + time.Duration(restarts)*s.Every,
		})
	if err != nil {
		return "", fmt.Errorf("scenario %s: %w", s.Name(), err)
	}
	return wrapComments(b.String()), nil
}

const serverText = `{{- with .Server -}}
name: {{.Name}}
about: {{printf "What is lost when %s is restarted?" .Program | quote}}
server:
  kind: command
  # HOST and PORT say where the server is to listen. The command may contain {{"{{host}}, {{port}}"}} and
  # {{"{{address}}"}}, too.
  start: {{quote .Start}}
  # Commands run here. If this program runs as root, they run under the id of another user (user).
  directory: {{quote .Directory}}
{{- if .User}}
  user: {{quote .User}}
{{- end}}
{{- if .Ready}}
  # The server is ready when it answers this path with a status from 200 to 399.
  ready: {http: {{quote .Ready}}}
{{- else}}
  # The server is ready when it listens.
  ready: {listening: true}
{{- end}}
  restarts:
    # {{.Describe}}
    restart: {{.Actions}}
restart: restart
# Only an answer with status 200 serves a request; "status: 2xx+304" would allow more.
request: {path: {{quote .Asked}}}
{{- if .Note}}
# {{.Note}}
{{- end}}
load: {rate: {{.Rate}}, duration: {{text $.Duration}}}
timeline: [{at: {{text $.At}}, every: {{text .Every}}, do: restart}]
# new: each request opens a connection. A number: as many connections are opened before the load,
# and kept.
{{- if .KeptNote}}
# Here: {{.KeptNote}}.
{{- end}}
matrix: [{load.connections: [{{join .Connections ", "}}]}]
trials: {{$.Trials}}
{{end}}`
