package starter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios"
)

// Scenario returns a valid scenario for every kind of restart and readiness.
func TestServerScenario(t *testing.T) {
	for _, test := range []struct {
		server  Server
		name    string
		actions string // the actions of the restart, as Go prints them
		path    string
		steps   int // number of restarts in a trial
	}{
		{Server{Start: "python3 app.py"}, "my-python3", "start stop", "/", 3},
		{Server{Start: "./My_Service -p {{port}}", Restart: "stop-start", Ready: "/health"},
			"my-my-service", "stop start", "/health", 3},
		{Server{Start: `sh -c 'exec "x" # \'`, Restart: "sighup", Path: "/a?b=\"c\"",
			Connections: []string{"new"}, KeptNote: "new ones only"},
			"my-sh", "HUP", "/a?b=\"c\"", 5},
		{Server{Start: "nginx -c x", Restart: "nginx -s reload", Every: 3 * time.Second,
			Connections: []string{"50"}},
			"my-nginx", "nginx -s reload", "/", 3},
		{Server{Start: "/", Restart: "USR2", Every: time.Minute, Rate: "7/s", Note: "n"},
			"my", "USR2", "/", 1},
	} {
		test.server.Directory = "/srv/a b"
		text, err := test.server.Scenario()
		if err != nil {
			t.Fatal(err)
		}
		s, err := scenarios.Parse("f", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		var actions []string
		for _, a := range s.Server.Restarts["restart"] {
			switch {
			case a.Signal != "":
				actions = append(actions, string(a.Signal))
			case a.Start != "":
				actions = append(actions, "start")
			case a.Stop != "":
				actions = append(actions, "stop")
			case !a.Run.IsZero():
				actions = append(actions, a.Run.String())
			}
		}
		steps := int((s.Load.Duration-time.Millisecond-s.Timeline[0].At)/s.Timeline[0].Every) + 1
		got := []string{s.Name, strings.Join(actions, " "), s.Request.Path, fmt.Sprint(steps),
			s.Server.Start.Line, s.Server.Directory}
		want := []string{test.name, test.actions, test.path, fmt.Sprint(test.steps),
			test.server.Start, "/srv/a b"}
		for _, v := range s.Variants {
			got = append(got, v.Setup.Load.Connections.String())
		}
		if want = append(want, test.server.Connections...); len(test.server.Connections) == 0 {
			want = append(want, "new", "200")
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%+v (-got +want):\n%s\n%s", test.server, diff, text)
		}
		for line := range strings.Lines(text) {
			if len(line) > Columns+1 && strings.HasPrefix(strings.TrimSpace(line), "#") {
				t.Errorf("too wide: %s", line)
			}
		}
	}
}
