package scenarios

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"reuseport-bench/results/command"
	"reuseport-bench/results/input"
	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

//go:embed *.yaml servers/*.yaml
var embedded embed.FS

// directories are the directories of the embedded scenarios.
var directories = []string{".", "servers"}

// source returns the path and the text of an embedded scenario.
func source(name string) (file string, text []byte, found bool) {
	for _, dir := range directories {
		file = path.Join(dir, name+".yaml")
		if text, err := embedded.ReadFile(file); err == nil {
			return file, text, true
		}
	}
	return "", nil, false
}

// Problem is one mistake in a scenario file.
type Problem = strictyaml.Problem

// Problems is the error of Load and Parse for an invalid scenario.
type Problems = strictyaml.Problems

// Load reads a scenario. If nameOrPath ends in .yaml or .yml or contains a slash, it is the path of
// a file. Otherwise it is the current or an old name of an embedded scenario. If the file has
// mistakes, the error is a *Problems.
func Load(nameOrPath string) (*Scenario, error) {
	extensions := []string{".yaml", ".yml"}
	if strings.Contains(nameOrPath, "/") || slices.Contains(extensions, path.Ext(nameOrPath)) {
		return loadFile(nameOrPath)
	}
	name := vocabulary.ScenarioName(nameOrPath)
	file, text, found := source(name)
	if !found {
		return nil, fmt.Errorf("no scenario is called %s; %s (a file needs a name that ends in "+
			".yaml)",
			strictyaml.Quote(nameOrPath),
			strictyaml.DidYouMean(nameOrPath, Names(),
				"'"+command.Line("list")+"' prints their names"))
	}
	return Parse("scenarios/"+file, text) // its path in the repository
}

// loadHint returns the hint for a file that cannot be read.
func loadHint() string {
	return "name a YAML file, or a scenario of '" + command.Line("list") + "'"
}

func loadFile(name string) (*Scenario, error) {
	fail := func(err error) error {
		var at *fs.PathError // unwrapped below, because its Path may be unsafe to print
		if errors.As(err, &at) {
			err = fmt.Errorf("%s: %w", input.Name(name), at.Err)
		}
		return fmt.Errorf("scenario: %w; %s", err, loadHint())
	}
	f, err := input.Open(name)
	if err != nil {
		return nil, fail(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1)) // Parse refuses a longer file
	if err != nil {
		return nil, fail(err)
	}
	return Parse(name, data)
}

// Parse reads a scenario from data. file is the name of the file, for messages. If data has
// mistakes, the error is a *Problems that lists them all.
func Parse(file string, data []byte) (*Scenario, error) {
	root, d := format().Parse(data)
	if root == nil {
		return nil, d.Err(file)
	}
	sum := sha256.Sum256(data)
	s := &Scenario{File: file, SHA256: hex.EncodeToString(sum[:]), Text: string(data)}
	d.Decode(root, s)
	if s.Sockets == "" {
		s.Sockets = vocabulary.SocketsReuseport
		if s.ByCommand() {
			s.Sockets = vocabulary.SocketsServer
		}
	}
	if s.MinValid == 0 {
		s.MinValid = (s.Trials + 1) / 2
	}
	for i := range s.Gates {
		s.Gates[i].Line = d.Line(fmt.Sprintf("gates[%d].expect", i))
	}
	checkScenario(s, d)
	if err := d.Err(file); err != nil {
		return nil, err
	}
	return s, nil
}

// Names lists the embedded scenarios in alphabetical order.
func Names() (names []string) {
	for _, dir := range directories {
		files, err := fs.Glob(embedded, path.Join(dir, "*.yaml"))
		if err != nil {
			panic(err) // the pattern is constant
		}
		for _, file := range files {
			names = append(names, strings.TrimSuffix(path.Base(file), ".yaml"))
		}
	}
	slices.Sort(names)
	return names
}

// Default lists the embedded scenarios of the default suite, in the order in which they run.
func Default() []string { return []string{"steady", "restart", "stall"} }
