package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

// limit is how long a test waits for a line. client-go's own limit of 5 requests per second would
// make TestConcurrent wait longer.
const limit = 5 * time.Second

// peer is a program that uses a bridge.
type peer struct {
	t     *testing.T
	in    io.WriteCloser
	lines chan map[string]any
	ended chan struct{} // closed when Run has returned
}

// start runs a bridge to an API server that a handler plays.
func start(t *testing.T, api http.HandlerFunc) peer {
	t.Helper()
	server := httptest.NewServer(api)
	requests, in := io.Pipe()
	out, lines := io.Pipe()
	p := peer{t: t, in: in, lines: make(chan map[string]any, 100), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer lines.Close()
		config := &rest.Config{Host: server.URL}
		if err := Run(context.Background(), config, requests, lines); err != nil {
			t.Error(err)
		}
	}()
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			var line map[string]any
			if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
				t.Errorf("%s: %v", scanner.Bytes(), err)
			}
			p.lines <- line
		}
	}()
	t.Cleanup(func() {
		p.end()
		server.CloseClientConnections()
		server.Close()
	})
	return p
}

// end ends the bridge's input, and waits until the bridge has ended.
func (p peer) end() {
	p.t.Helper()
	p.in.Close()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.t.Error("the bridge goes on after its input ended")
	}
}

func (p peer) send(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// next returns the next line without its instant, which must be one.
func (p peer) next() map[string]any {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatal("the bridge ended")
		}
		if at, _ := line["at"].(float64); at <= 0 || at > float64(now()) {
			p.t.Errorf("%v: no instant in the past", line)
		}
		delete(line, "at")
		return line
	case <-time.After(limit):
		p.t.Fatal("no line within ", limit)
	}
	return nil
}

const pods = "/api/v1/namespaces/default/pods"

func TestRequests(t *testing.T) {
	for _, test := range []struct {
		name, request string
		want          string // method, path and query that the API server sees
		content, body string // what the API server gets
	}{{
		name:    "create",
		request: `"verb":"create","resource":"v1/pods","namespace":"default","body":{"kind":"Pod"}`,
		want:    "POST " + pods + "?fieldManager=reuseport-bench",
		content: "application/json", body: `{"kind":"Pod"}`,
	}, {
		name:    "get from the cluster",
		request: `"verb":"get","resource":"v1/nodes","name":"node-a"`,
		want:    "GET /api/v1/nodes/node-a",
	}, {
		name: "get of a group",
		request: `"verb":"get","resource":"apps/v1/deployments","namespace":"default",` +
			`"name":"web","subresource":"scale"`,
		want: "GET /apis/apps/v1/namespaces/default/deployments/web/scale",
	}, {
		name: "list",
		request: `"verb":"list","resource":"v1/pods","namespace":"default",` +
			`"options":{"labelSelector":"app=x"}`,
		want: "GET " + pods + "?labelSelector=app%3Dx",
	}, {
		name: "patch merge",
		request: `"verb":"patch","patch":"merge","resource":"v1/pods","namespace":"default",` +
			`"name":"web","body":{"a":1}`,
		want:    "PATCH " + pods + "/web?fieldManager=reuseport-bench",
		content: "application/merge-patch+json", body: `{"a":1}`,
	}, {
		name: "patch strategic",
		request: `"verb":"patch","patch":"strategic","resource":"v1/pods","namespace":"default",` +
			`"name":"web","subresource":"status","body":{"a":1}`,
		want:    "PATCH " + pods + "/web/status?fieldManager=reuseport-bench",
		content: "application/strategic-merge-patch+json", body: `{"a":1}`,
	}, {
		name: "patch json",
		request: `"verb":"patch","patch":"json","resource":"v1/pods","namespace":"default",` +
			`"name":"web","body":[]`,
		want:    "PATCH " + pods + "/web?fieldManager=reuseport-bench",
		content: "application/json-patch+json", body: `[]`,
	}, {
		name: "patch apply",
		request: `"verb":"patch","patch":"apply","resource":"v1/pods","namespace":"default",` +
			`"name":"web","body":{"a":1}`,
		want:    "PATCH " + pods + "/web?fieldManager=reuseport-bench&force=true",
		content: "application/apply-patch+yaml", body: `{"a":1}`,
	}, {
		name: "delete",
		request: `"verb":"delete","resource":"v1/pods","namespace":"default","name":"web",` +
			`"options":{"gracePeriodSeconds":0}`,
		want:    "DELETE " + pods + "/web",
		content: "application/json",
		body:    `{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}`,
	}, {
		name: "evict",
		request: `"verb":"evict","resource":"v1/pods","namespace":"default","name":"web",` +
			`"options":{"gracePeriodSeconds":7}`,
		want:    "POST " + pods + "/web/eviction?fieldManager=reuseport-bench",
		content: "application/json",
		body: `{"apiVersion":"policy/v1","deleteOptions":{"gracePeriodSeconds":7},` +
			`"kind":"Eviction","metadata":{"name":"web","namespace":"default"}}`,
	}} {
		t.Run(test.name, func(t *testing.T) {
			answer := `{"kind":"Pod","metadata":{"name":"web","managedFields":[{}]},"n":3}`
			if test.name == "list" {
				answer = `{"kind":"PodList","items":[` + answer + `]}`
			}
			p := start(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Method + " " + r.URL.String(); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
				body, _ := io.ReadAll(r.Body)
				if got := strings.TrimSpace(string(body)); got != test.body {
					t.Errorf("got body %s, want %s", got, test.body)
				}
				if got := r.Header.Get("Content-Type"); got != test.content {
					t.Errorf("got content %s, want %s", got, test.content)
				}
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, answer)
			})
			p.send(`{"id":7,` + test.request + `}`)
			want := map[string]any{"id": 7.0}
			pod := map[string]any{
				"kind": "Pod", "metadata": map[string]any{"name": "web"}, "n": 3.0}
			switch test.name {
			case "delete", "evict": // reply without an object
			case "list":
				want["object"] = map[string]any{"kind": "PodList", "items": []any{pod}}
			default:
				want["object"] = pod
			}
			if diff := cmp.Diff(want, p.next()); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.Header().Set("Retry-After", "10")
			w.WriteHeader(http.StatusTooManyRequests)
			io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure",`+
				`"message":"not now","reason":"TooManyRequests","code":429}`)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure",`+
			`"message":"pods \"web\" not found","reason":"NotFound","code":404}`)
	})
	notFound := map[string]any{
		"id": 1.0, "error": `pods "web" not found`, "reason": "NotFound", "code": 404.0}
	for _, test := range []struct {
		request string
		want    map[string]any
	}{
		{`{"id":1,"verb":"get","resource":"v1/pods","namespace":"default","name":"web"}`, notFound},
		{`{"id":1,"verb":"watch","resource":"v1/pods"}`, notFound},
		{`{"id":1,"verb":"evict","resource":"v1/pods","namespace":"default","name":"web"}`,
			map[string]any{
				"id": 1.0, "error": "not now", "reason": "TooManyRequests", "code": 429.0}},
		{`{"id":2,"verb":"fetch","resource":"v1/pods"}`,
			map[string]any{"id": 2.0, "error": `unknown verb "fetch"`}},
		{`{"id":3,"verb":"get","resource":"pods"}`, map[string]any{"id": 3.0,
			"error": `resource "pods": write VERSION/PLURAL or GROUP/VERSION/PLURAL`}},
		{`{"id":4,"verb":"get","resource":"v1/pods","name":"x","options":{"none":1}}`,
			map[string]any{"id": 4.0, "error": `options of get: json: unknown field "none"`}},
		{`{"id":5,"verbs":"get"}`,
			map[string]any{"id": 5.0, "error": `not a request: json: unknown field "verbs"`}},
		{`{"id":6,"verb":"unwatch","watch":9}`,
			map[string]any{"id": 6.0, "error": "no watch 9"}},
	} {
		p.send(test.request)
		if diff := cmp.Diff(test.want, p.next()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.request, diff)
		}
	}
}

// TestConcurrent sends requests of which none is answered before all have come.
func TestConcurrent(t *testing.T) {
	const n = 50
	var all sync.WaitGroup
	all.Add(n)
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		all.Done()
		all.Wait()
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"kind":"Pod"}`)
	})
	for i := range n {
		p.send(fmt.Sprintf(`{"id":%d,"verb":"get","resource":"v1/pods","name":"x"}`, i))
	}
	ids := map[any]bool{}
	for range n {
		ids[p.next()["id"]] = true
	}
	if len(ids) != n {
		t.Errorf("got replies to %d requests, want %d", len(ids), n)
	}
}

// TestWatch loses a watch. In the meantime, a pod is changed, one is replaced by another of its
// name, one goes, and one stays as it was.
func TestWatch(t *testing.T) {
	pod := func(name, uid, version string) string {
		return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q,"uid":%q,`+
			`"resourceVersion":%q,"managedFields":[{}]}}`, name, uid, version)
	}
	lists := make(chan string, 2)
	lists <- pod("a", "1", "5") + "," + pod("b", "2", "6") + "," + pod("c", "3", "7") + "," +
		pod("d", "4", "8")
	changes := make(chan string) // closed to break the watch
	var listed int
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			listed++
			fmt.Fprintf(w, `{"kind":"PodList","metadata":{"resourceVersion":"%d0"},"items":[%s]}`,
				listed, <-lists)
			return
		}
		want := fmt.Sprintf("%d0", listed)
		if got := r.URL.Query().Get("resourceVersion"); got != want {
			t.Errorf("watches from version %s, want %s", got, want)
		}
		w.(http.Flusher).Flush()
		for {
			select {
			case <-r.Context().Done():
				return
			case change, ok := <-changes:
				if !ok {
					changes = nil
					panic(http.ErrAbortHandler) // as if the API server died
				}
				io.WriteString(w, change)
				w.(http.Flusher).Flush()
			}
		}
	})
	expect := func(want ...string) {
		t.Helper()
		for _, want := range want {
			line := p.next()
			got := fmt.Sprint(line["type"])
			if object, ok := line["object"].(map[string]any); ok {
				metadata := object["metadata"].(map[string]any)
				got += fmt.Sprintf(" %s %s", metadata["name"], metadata["uid"])
				if metadata["managedFields"] != nil {
					t.Error("an event has managedFields")
				}
			}
			if got != want || line["watch"] != 1.0 {
				t.Fatalf("got %s (%v), want %s", got, line, want)
			}
		}
	}
	p.send(`{"id":1,"verb":"watch","resource":"v1/pods","namespace":"default"}`)
	if diff := cmp.Diff(map[string]any{"id": 1.0}, p.next()); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	expect("ADDED a 1", "ADDED b 2", "ADDED c 3", "ADDED d 4", "SYNCED")
	changes <- `{"type":"MODIFIED","object":` + pod("a", "1", "11") + `}`
	changes <- `{"type":"DELETED","object":` + pod("d", "4", "12") + `}`
	changes <- `{"type":"ADDED","object":` + pod("e", "5", "13") + `}`
	expect("MODIFIED a 1", "DELETED d 4", "ADDED e 5")
	lists <- pod("a", "1", "11") + "," + pod("b", "6", "14") + "," + pod("e", "5", "15")
	close(changes)
	expect("LOST")
	gone := []any{p.next()["object"], p.next()["object"]} // in any order
	for _, object := range gone {
		name := object.(map[string]any)["metadata"].(map[string]any)["name"]
		if name != "b" && name != "c" {
			t.Errorf("%v is reported as deleted", name)
		}
	}
	expect("ADDED b 6", "MODIFIED e 5", "SYNCED")

	p.send(`{"id":2,"verb":"unwatch","watch":1}`)
	if diff := cmp.Diff(map[string]any{"id": 2.0}, p.next()); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
}

// TestEnd closes the input while a request is in flight and a watch is open.
func TestEnd(t *testing.T) {
	arrived := make(chan struct{})
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" && r.URL.Path == "/api/v1/nodes" {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[]}`)
			return
		}
		w.(http.Flusher).Flush()
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	p.send(`{"id":1,"verb":"watch","resource":"v1/nodes"}`)
	<-arrived
	p.send(`{"id":2,"verb":"get","resource":"v1/pods","name":"x"}`)
	<-arrived
	p.end()
}
