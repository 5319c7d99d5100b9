package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// ServerCommand holds the keys of server that only kind: command uses. Texts in them may contain
// variables; see package bench/internal/foreign.
type ServerCommand struct {
	Forks         bool               `yaml:"forks,omitempty"`
	PIDFile       string             `yaml:"pid_file,omitempty"`
	Directory     string             `yaml:"directory,omitempty"`
	User          string             `yaml:"user,omitempty"`
	Files         map[string]File    `yaml:"files,omitempty"`
	Env           map[string]string  `yaml:"env,omitempty"`
	Vars          map[string]string  `yaml:"vars,omitempty"`
	Ready         Ready              `yaml:"ready,omitempty"`
	Stop          ServerStop         `yaml:"stop,omitempty"`
	Identify      Identify           `yaml:"identify,omitempty"`
	Restarts      map[string]Actions `yaml:"restarts,omitempty"`
	RestartWithin time.Duration      `yaml:"restart_within,omitempty"` // 0 means 10 s
	Beside        map[string]Beside  `yaml:"beside,omitempty"`
}

// Actions are the actions of a restart, in the order in which they are done.
type Actions = []Action

// Ready is the condition under which a process is ready. At most one of HTTP, Listening, Notify,
// Stdout and Run is set. If none is set, a server is ready when it listens.
type Ready struct {
	HTTP      string        `yaml:"http,omitempty"`
	Status    int           `yaml:"status,omitempty"` // 0 means 200 to 399
	Listening bool          `yaml:"listening,omitempty"`
	Notify    bool          `yaml:"notify,omitempty"`
	Stdout    string        `yaml:"stdout,omitempty"` // a regular expression
	Run       Command       `yaml:"run,omitempty"`
	Within    time.Duration `yaml:"within,omitempty"` // 0 means 20 s
}

// ServerStop configures how a server is stopped.
type ServerStop struct {
	Signal Signal        `yaml:"signal,omitempty"` // "" means TERM
	Grace  time.Duration `yaml:"grace,omitempty"`  // 0 means 10 s
}

// Identify names the response headers in which a server identifies the process that answers.
type Identify struct {
	Worker     string `yaml:"worker,omitempty"`
	Generation string `yaml:"generation,omitempty"`
}

// An Action is one action of a restart. Exactly one of Signal, Run, Start, Stop, Write and Wait is
// set.
type Action struct {
	Signal Signal            `yaml:"signal,omitempty"`
	To     string            `yaml:"to,omitempty"`
	Run    Command           `yaml:"run,omitempty"`
	Exit   int               `yaml:"exit,omitempty"`
	Start  string            `yaml:"start,omitempty"` // "next"
	Stop   string            `yaml:"stop,omitempty"`  // "previous"
	Write  string            `yaml:"write,omitempty"` // "files"
	Set    map[string]string `yaml:"set,omitempty"`
	Wait   Condition         `yaml:"wait,omitempty"`
	Within time.Duration     `yaml:"within,omitempty"` // 0 means 10 s
}

// A Condition is the event for which an action waits. At most one field is set.
type Condition struct {
	Ready      string `yaml:"ready,omitempty"` // "next"
	Listening  bool   `yaml:"listening,omitempty"`
	HTTP       string `yaml:"http,omitempty"`
	Generation string `yaml:"generation,omitempty"` // "answers"
	File       string `yaml:"file,omitempty"`
	PIDFile    string `yaml:"pid_file,omitempty"` // "changed"
	Gone       string `yaml:"gone,omitempty"`
	Stdout     string `yaml:"stdout,omitempty"` // a regular expression
}

// Beside is a process that the server needs, such as a database. It is started before the server
// and stopped after it.
type Beside struct {
	Start Command           `yaml:"start"`
	Port  int               `yaml:"port,omitempty"` // the port to listen on: {{port}} in texts
	Files map[string]File   `yaml:"files,omitempty"`
	Env   map[string]string `yaml:"env,omitempty"`
	Ready Ready             `yaml:"ready,omitempty"`
	Stop  ServerStop        `yaml:"stop,omitempty"`
}

// Request describes the request that the load sends, and the response statuses that count the
// attempt as served.
type Request struct {
	Method  string            `yaml:"method,omitempty"` // "" means GET, or POST with a body
	Path    string            `yaml:"path,omitempty"`   // "" means /
	Headers map[string]string `yaml:"headers,omitempty"`
	Status  Statuses          `yaml:"status,omitempty"`
}

// isZero reports whether no field is set.
func (r *Request) isZero() bool {
	return r.Method == "" && r.Path == "" && len(r.Headers) == 0 && r.Status == ""
}

// A Command is a command to execute without a shell: a line, which is split into words at spaces,
// or a list of words.
type Command struct {
	Line string
	List []string
}

// IsZero reports whether there is no command.
func (c Command) IsZero() bool { return c.Line == "" && len(c.List) == 0 }

// Program returns the first word of the command, with its variables not replaced. It returns "" if
// there is no command.
func (c Command) Program() string {
	words := c.List
	if c.Line != "" {
		words = strings.Fields(c.Line)
	}
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// String returns the line, or the words of the list with spaces between them.
func (c Command) String() string {
	if c.Line != "" {
		return c.Line
	}
	return strings.Join(c.List, " ")
}

const (
	commandHint = "write the command as one text, such as start: \"nginx -c nginx.conf\", or as " +
		"a list of words"
	bracesHint = "put a text that starts with {{ in quotes"
)

// DecodeYAML decodes a line or a list of words; see strictyaml.NodeDecoder.
func (c *Command) DecodeYAML(d *strictyaml.Decoder, n *yaml.Node, path string) {
	*c = Command{}
	switch {
	case n.Kind == yaml.ScalarNode && strings.TrimSpace(n.Value) != "":
		c.Line = n.Value
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
		for _, word := range n.Content {
			if word.Kind != yaml.ScalarNode {
				d.Fail(word.Line, path, "expected a word, found "+strictyaml.Describe(word),
					bracesHint)
				return
			}
			c.List = append(c.List, word.Value)
		}
	case n.Kind == yaml.MappingNode:
		d.Fail(n.Line, path, "expected a command, found a mapping", bracesHint)
	default:
		d.Fail(n.Line, path, "expected a command, found "+strictyaml.Describe(n), commandHint)
	}
}

// EncodeYAML returns c in the form that DecodeYAML reads.
func (c Command) EncodeYAML() *yaml.Node {
	if c.Line != "" || len(c.List) == 0 {
		return text(c.Line)
	}
	list := strictyaml.Flow(&yaml.Node{Kind: yaml.SequenceNode})
	for _, word := range c.List {
		list.Content = append(list.Content, text(word))
	}
	return list
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// Start is the value of server.start. For workers of this program it is the time at which they are
// started. With kind: command it is the command that starts the server.
type Start struct {
	When vocabulary.Start
	Command
}

// IsZero reports whether neither When nor Command is set.
func (s Start) IsZero() bool { return s.When == "" && s.Command.IsZero() }

// String formats s as in a scenario.
func (s Start) String() string {
	if s.When != "" {
		return string(s.When)
	}
	return s.Command.String()
}

// DecodeYAML decodes one of the words of vocabulary.Start, or a command.
func (s *Start) DecodeYAML(d *strictyaml.Decoder, n *yaml.Node, path string) {
	*s = Start{}
	if n.Kind == yaml.ScalarNode && slices.Contains(startWords(), n.Value) {
		s.When = vocabulary.Start(n.Value)
		return
	}
	s.Command.DecodeYAML(d, n, path)
}

// EncodeYAML returns s in the form that DecodeYAML reads.
func (s Start) EncodeYAML() *yaml.Node {
	if s.When != "" {
		return strictyaml.Scalar(string(s.When))
	}
	return s.Command.EncodeYAML()
}

// DecodeText decodes a value in the matrix; see strictyaml.TextDecoder.
func (s *Start) DecodeText(text string, _ strictyaml.Setting) *strictyaml.Problem {
	if strings.TrimSpace(text) == "" {
		return &strictyaml.Problem{
			What: "expected a command, found an empty text", Hint: commandHint,
		}
	}
	*s = Start{Command: Command{Line: text}}
	if slices.Contains(startWords(), text) {
		*s = Start{When: vocabulary.Start(text)}
	}
	return nil
}

// startWords returns the words of vocabulary.Start.
func startWords() (words []string) {
	for _, v := range vocabulary.Values("server.start") {
		words = append(words, v.Name)
	}
	return words
}

// A File is a file that the server needs. It is either a text with variables or a copy of the file
// at a path. A relative path is relative to the directory of the scenario file.
type File struct {
	Text string
	Copy string
}

// DecodeYAML decodes a text, or {copy: PATH}.
func (f *File) DecodeYAML(d *strictyaml.Decoder, n *yaml.Node, path string) {
	*f = File{}
	if n.Kind == yaml.ScalarNode {
		if !strictyaml.IsNull(n) {
			f.Text = n.Value
		}
		return
	}
	d.Pairs(n, path, func(key, value *yaml.Node) {
		switch {
		case key.Value != "copy":
			d.Fail(key.Line, path, fmt.Sprintf("unknown key %q", key.Value),
				"write the file's text, or {copy: PATH}")
		case value.Kind != yaml.ScalarNode || value.Value == "":
			d.Fail(value.Line, path, "expected a path, found "+strictyaml.Describe(value),
				"for example {copy: ./Caddyfile}")
		default:
			f.Copy = value.Value
		}
	})
}

// EncodeYAML returns f in the form that DecodeYAML reads.
func (f File) EncodeYAML() *yaml.Node {
	if f.Copy == "" {
		return text(f.Text)
	}
	mapping := strictyaml.Flow(&yaml.Node{Kind: yaml.MappingNode})
	mapping.Content = append(mapping.Content, strictyaml.Scalar("copy"), text(f.Copy))
	return mapping
}

// Signal is the name of a signal, without SIG.
type Signal string

// DecodeText decodes the name of a signal, such as HUP or SIGHUP.
func (s *Signal) DecodeText(text string, _ strictyaml.Setting) *strictyaml.Problem {
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if unix.SignalNum("SIG"+name) == 0 {
		return &strictyaml.Problem{
			What: fmt.Sprintf("%q is not a signal", text), Hint: "for example HUP, USR2 or TERM",
		}
	}
	*s = Signal(name)
	return nil
}

func (s Signal) String() string { return string(s) }

// Number returns the signal's number, or 0 for "".
func (s Signal) Number() unix.Signal {
	if s == "" {
		return 0
	}
	return unix.SignalNum("SIG" + string(s))
}

// Statuses are HTTP statuses such as 200, 2xx and 200-299, joined by +. "" means 200.
type Statuses string

// DecodeText sets s to text if text has the form of Statuses.
func (s *Statuses) DecodeText(text string, _ strictyaml.Setting) *strictyaml.Problem {
	for one := range strings.SplitSeq(text, "+") {
		if _, _, ok := statusRange(one); !ok {
			return &strictyaml.Problem{
				What: fmt.Sprintf("%q is not an HTTP status that ends a request", one),
				Hint: "write 200, 2xx or 200-299, and join several by +",
			}
		}
	}
	*s = Statuses(text)
	return nil
}

func (s Statuses) String() string { return string(s) }

// Ranges returns the first and last status of each range.
func (s Statuses) Ranges() (all [][2]int) {
	if s == "" {
		return nil
	}
	for one := range strings.SplitSeq(string(s), "+") {
		from, to, _ := statusRange(one)
		all = append(all, [2]int{from, to})
	}
	return all
}

// statusRange returns the first and last status that a part of Statuses stands for. ok is false if
// text has another form, or contains a status below 200 or above 599.
func statusRange(text string) (from, to int, ok bool) {
	parts := statusPattern().FindStringSubmatch(text)
	if parts == nil {
		return 0, 0, false
	}
	class, first, last := parts[1], parts[2], parts[3]
	if class != "" {
		first, last = class+"00", class+"99"
	}
	from, _ = strconv.Atoi(first) // three digits each
	to, _ = strconv.Atoi(cmp.Or(last, first))
	return from, to, 200 <= from && from <= to && to <= 599
}

// statusPattern matches 2xx, 200 and 200-299.
var statusPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:([2-5])xx|([0-9]{3})(?:-([0-9]{3}))?)$`)
})

// varsPath is the path of the variables of a server. The matrix can vary each variable.
const varsPath = "server.vars"

// variableName returns the name of the variable at path, such as server.vars.binary.
func variableName(path string) (name string, is bool) {
	return strings.CutPrefix(path, varsPath+".")
}

// with returns a copy of vars in which the variable name has the given value.
func with(vars map[string]string, name, value string) map[string]string {
	vars = maps.Clone(vars)
	if vars == nil {
		vars = map[string]string{}
	}
	vars[name] = value
	return vars
}

// checkName checks a name in a map whose keys the file chooses; see strictyaml.Format. The names of
// variables, restarts and processes beside the server are parts of paths, so they contain no dots.
func checkName(path, name string) *strictyaml.Problem {
	switch path {
	case varsPath, "server.restarts", "server.beside":
		if !isWord(name) {
			return &strictyaml.Problem{
				What: strictyaml.Quote(name) + " is not a name",
				Hint: "use letters and digits, with - or _ between them",
			}
		}
	}
	return nil
}

// isWord reports whether name can name a variable, a restart or a process beside the server.
func isWord(name string) bool { return wordPattern().MatchString(name) }

var wordPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$`)
})
