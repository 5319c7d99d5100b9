package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// The Docker Compose file in docs/containers.md has the same options as the first command there.
func TestComposeFile(t *testing.T) {
	text, err := os.ReadFile("../docs/containers.md")
	if err != nil {
		t.Fatal(err)
	}
	run := regexp.MustCompile("(?s)```\n(docker run .*?)```").FindSubmatch(text)
	file := regexp.MustCompile("(?s)```yaml\n(services:.*?)```").FindSubmatch(text)
	if run == nil || file == nil {
		t.Fatal("no command, or no file")
	}
	var compose struct {
		Services map[string]struct {
			Image       string   `yaml:"image"`
			Command     []string `yaml:"command"`
			NetworkMode string   `yaml:"network_mode"`
			User        string   `yaml:"user"`
			CapAdd      []string `yaml:"cap_add"`
			SecurityOpt []string `yaml:"security_opt"`
			Volumes     []string `yaml:"volumes"`
		} `yaml:"services"`
	}
	if err := yaml.Load(file[1], &compose, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	if len(compose.Services) != 1 {
		t.Fatalf("%d services, want 1", len(compose.Services))
	}
	for _, s := range compose.Services {
		got := []string{"docker", "run", "--rm", "--network", s.NetworkMode, "--user", s.User}
		for _, name := range s.CapAdd {
			got = append(got, "--cap-add", name)
		}
		for _, option := range s.SecurityOpt {
			got = append(got, "--security-opt", option)
		}
		for _, volume := range s.Volumes {
			got = append(got, "-v", `"$PWD`+strings.TrimPrefix(volume, ".")+`"`)
		}
		got = append(append(got, s.Image), s.Command...)
		want := strings.Fields(strings.ReplaceAll(string(run[1]), "\\\n", " "))
		if !slices.Equal(got, want) {
			t.Errorf("the file means %q, want %q", got, want)
		}
	}
}
