package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/sys"
)

// A Request is one call of the Kubernetes API.
type Request struct {
	// Verb is create, get, list, patch, delete or evict; Watch uses watch and unwatch.
	Verb string `json:"verb"`
	// Resource is version/plural or group/version/plural, such as "v1/pods".
	Resource    string `json:"resource"`
	Namespace   string `json:"namespace,omitempty"`
	Name        string `json:"name,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	Patch       string `json:"patch,omitempty"` // merge, strategic, json or apply
	// Options are the options of a deletion, and Body an object or a patch. Both are encoded as
	// JSON.
	Options any `json:"options,omitempty"`
	Body    any `json:"body,omitempty"`
}

func (r Request) String() string {
	text := r.Verb + " " + r.Resource
	if r.Name != "" {
		text += " " + r.Name
	}
	if r.Subresource != "" {
		text += "/" + r.Subresource
	}
	return text
}

// An APIError is an answer of the API that is an error.
type APIError struct {
	Reason  string // such as "NotFound"
	Code    int    // the HTTP status
	Message string
}

func (e *APIError) Error() string {
	if e.Reason == "" {
		return e.Message
	}
	return fmt.Sprintf("%s (%d %s)", e.Message, e.Code, e.Reason)
}

// The types of a WatchEvent.
const (
	Added    = "ADDED"    // also for every object that exists when the watch begins
	Modified = "MODIFIED" //
	Deleted  = "DELETED"
	Synced   = "SYNCED" // every object that existed has been reported
	Lost     = "LOST"   // the connection to the API was lost, and will be made again
)

// A WatchEvent is an event of a watch.
type WatchEvent struct {
	At     clock.Instant   // when the bridge received it
	Type   string          // one of the constants above
	Object json.RawMessage // nil for Synced and Lost
	Error  string          // for Lost
}

// bridge is the bridge's process.
type bridge struct {
	process  *child.Process
	requests *os.File // its standard input
	ended    chan struct{}

	sending sync.Mutex // held while a request is written
	mu      sync.Mutex // guards the fields below
	next    int64
	calls   map[int64]chan<- message
	watches map[int64]func(WatchEvent)
	closing bool
}

// message is a line from the bridge: the reply to a call, or an event of a watch.
type message struct {
	ID     int64           `json:"id"`
	Watch  int64           `json:"watch"`
	At     clock.Instant   `json:"at"`
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
	Error  string          `json:"error"`
	Reason string          `json:"reason"`
	Code   int             `json:"code"`
}

// startBridge starts the bridge on the control plane's host. failed is called if it ends by itself.
func startBridge(
	lab *netlab.Lab, binary string, env []string, kubeconfig string, cpus []int,
	failed func(error),
) (_ *bridge, err error) {
	config, err := sys.MemoryFile("kubeconfig", kubeconfig)
	if err != nil {
		return nil, err
	}
	defer config.Close()
	in, requests, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	replies, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, requests.Close())
	}
	defer out.Close()
	// The first of the files that a child gets is its descriptor 3.
	cmd := exec.Command(binary, "bridge", "--kubeconfig", "/proc/self/fd/3")
	cmd.Env, cmd.Stdin, cmd.Stdout = env, in, out
	start := func(c *exec.Cmd) error { return lab.Start(lab.Control(), c, cpus) }
	return newBridge(cmd, start, []*os.File{config}, requests, replies, failed)
}

// newBridge starts the bridge's process, which reads the other end of requests and writes the other
// end of replies. It takes ownership of both.
func newBridge(
	cmd *exec.Cmd, start func(*exec.Cmd) error, files []*os.File, requests, replies *os.File,
	failed func(error),
) (_ *bridge, err error) {
	b := &bridge{
		requests: requests, ended: make(chan struct{}),
		calls: map[int64]chan<- message{}, watches: map[int64]func(WatchEvent){},
	}
	b.process, err = child.Start(child.Options{Command: cmd, Start: start, Files: files})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bridge: %w", err), requests.Close(), replies.Close())
	}
	go b.read(replies, failed)
	return b, nil
}

func (b *bridge) read(replies io.ReadCloser, failed func(error)) {
	defer replies.Close()
	all := json.NewDecoder(replies)
	var err error
	for {
		var m message
		if err = all.Decode(&m); err != nil {
			break
		}
		b.mu.Lock()
		call, watch := b.calls[m.ID], b.watches[m.Watch]
		delete(b.calls, m.ID)
		b.mu.Unlock()
		switch {
		case m.Watch != 0 && watch != nil:
			watch(WatchEvent{At: m.At, Type: m.Type, Object: m.Object, Error: m.Error})
		case m.Watch == 0 && call != nil:
			call <- m // has room
		}
	}
	close(b.ended)
	b.mu.Lock()
	closing := b.closing
	b.mu.Unlock()
	if closing {
		return
	}
	if errors.Is(err, io.EOF) {
		<-b.process.Exited()
		err = cmp.Or(b.process.Err(), errEnded)
	}
	failed(fmt.Errorf("bridge to the API: %w", err))
}

// newCall returns the ID of a new call, and the channel that its reply comes on. watch, if not nil,
// is called for each event of the call.
func (b *bridge) newCall(watch func(WatchEvent)) (id int64, reply <-chan message) {
	replies := make(chan message, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	b.calls[b.next] = replies
	if watch != nil {
		b.watches[b.next] = watch
	}
	return b.next, replies
}

// request is a Request as the bridge reads it.
type request struct {
	ID int64 `json:"id"`
	Request
	Watch int64 `json:"watch,omitempty"` // the watch to end, with the verb unwatch
}

// call sends a request and waits for its reply.
func (b *bridge) call(
	ctx context.Context, id int64, reply <-chan message, r Request,
) (json.RawMessage, error) {
	if err := b.send(request{ID: id, Request: r}); err != nil {
		return nil, err
	}
	select {
	case m := <-reply:
		return m.result()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-b.ended:
	}
	select {
	case m := <-reply:
		return m.result()
	default:
		return nil, errEnded
	}
}

func (m message) result() (json.RawMessage, error) {
	if m.Error != "" {
		return nil, &APIError{Reason: m.Reason, Code: m.Code, Message: m.Error}
	}
	return m.Object, nil
}

func (b *bridge) send(request any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	b.sending.Lock()
	defer b.sending.Unlock()
	_, err = b.requests.Write(append(line, '\n'))
	return err
}

// unwatch ends a watch. It does not wait.
func (b *bridge) unwatch(watch int64) {
	b.mu.Lock()
	delete(b.watches, watch)
	b.mu.Unlock()
	id, _ := b.newCall(nil)
	// It fails only if the bridge has ended.
	_ = b.send(request{ID: id, Request: Request{Verb: "unwatch"}, Watch: watch})
}

func (b *bridge) close() error {
	b.mu.Lock()
	b.closing = true
	b.mu.Unlock()
	err := errors.Join(b.requests.Close(), b.process.Close())
	<-b.ended
	return err
}

// Do calls the API and returns the object of its answer. An answer that is an error is returned as
// *APIError. Calls may be made concurrently.
func (c *Cluster) Do(ctx context.Context, r Request) (json.RawMessage, error) {
	id, reply := c.bridge.newCall(nil)
	object, err := c.bridge.call(ctx, id, reply, r)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", r, err)
	}
	return object, nil
}

// Watch begins a watch of the objects of a resource, in a namespace or, if it is empty, in all. It
// returns once the API has accepted the watch. From then on, event is called for each event, in
// order, until ctx ends or the cluster is closed. It must not block, nor call Do: the replies to
// all calls come after it.
func (c *Cluster) Watch(
	ctx context.Context, resource, namespace string, event func(WatchEvent),
) error {
	r := Request{Verb: "watch", Resource: resource, Namespace: namespace}
	id, reply := c.bridge.newCall(event)
	if _, err := c.bridge.call(ctx, id, reply, r); err != nil {
		c.bridge.unwatch(id)
		return fmt.Errorf("%v: %w", r, err)
	}
	context.AfterFunc(ctx, func() { c.bridge.unwatch(id) })
	return nil
}
