// Package bridge gives the API of a Kubernetes cluster to a program that has no client-go.
// Requests, replies and the events of watches are lines of JSON.
package bridge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// manager is the field manager of all changes.
const manager = "reuseport-bench"

// backlog is the number of lines that may wait for the reader of the output.
const backlog = 4096

// request is a line of the input.
type request struct {
	ID int64 `json:"id"`
	// Verb is create, get, list, patch, delete, evict, watch or unwatch.
	Verb string `json:"verb"`
	// Resource is VERSION/PLURAL or GROUP/VERSION/PLURAL, for example v1/pods.
	Resource    string `json:"resource"`
	Namespace   string `json:"namespace"` // empty: of the cluster, or of all namespaces
	Name        string `json:"name"`
	Subresource string `json:"subresource"`
	Patch       string `json:"patch"` // a key of patchTypes
	// Options are the verb's options of the API, for example those of deletion.
	Options json.RawMessage `json:"options"`
	Body    json.RawMessage `json:"body"`
	Watch   int64           `json:"watch"` // of unwatch: the ID of the request that began the watch
}

var patchTypes = map[string]types.PatchType{
	"json":      types.JSONPatchType,
	"merge":     types.MergePatchType,
	"strategic": types.StrategicMergePatchType,
	"apply":     types.ApplyPatchType,
}

// reply is a line of the output: the answer to the request with its ID.
type reply struct {
	ID     int64          `json:"id"`
	At     int64          `json:"at"` // when the answer came: nanoseconds of CLOCK_MONOTONIC
	Object map[string]any `json:"object,omitempty"`
	Error  string         `json:"error,omitempty"`
	// Reason and Code are the API server's, for example NotFound and 404. They are missing if none
	// answered.
	Reason string `json:"reason,omitempty"`
	Code   int32  `json:"code,omitempty"`
}

// Run answers the requests of in on out. Requests run concurrently. When in ends, Run gives up what
// is in flight and returns.
func Run(ctx context.Context, config *rest.Config, in io.Reader, out io.Writer) error {
	config = rest.CopyConfig(config)
	// Neither a limit nor repeats: a delay here would look like one of the cluster.
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return once{next} })
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	b := &bridge{client: client, lines: make(chan []byte, backlog), watches: map[int64]*watcher{}}
	var writer sync.WaitGroup
	writer.Go(func() {
		for line := range b.lines {
			out.Write(line) // an error is for nobody: who reads out is gone, and in will end
		}
	})
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		b.inFlight.Wait()
		close(b.lines)
		writer.Wait()
	}()
	for lines := bufio.NewReader(in); ; {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			b.inFlight.Go(func() { b.answer(ctx, line) })
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
	}
}

type bridge struct {
	client   dynamic.Interface
	inFlight sync.WaitGroup // requests and watches
	lines    chan []byte    // of the output

	watching sync.Mutex
	watches  map[int64]*watcher // by the ID of their requests; guarded by watching
}

// once sends requests of which client-go repeats none: it does if a refusal has a Retry-After. The
// API server refuses an eviction so, and client-go would wait ten times ten seconds.
type once struct{ next http.RoundTripper }

func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := o.next.RoundTrip(r)
	if err == nil {
		response.Header.Del("Retry-After")
	}
	return response, err
}

// answer carries out a request, and writes its reply.
func (b *bridge) answer(ctx context.Context, line []byte) {
	var r request
	err := strictly(line, &r)
	if err != nil {
		err = fmt.Errorf("not a request: %w", err)
	}
	var object map[string]any
	if err == nil && r.Verb == "watch" {
		if err = b.watch(ctx, r); err == nil {
			return // it has replied
		}
	} else if err == nil {
		object, err = b.do(ctx, r)
	}
	b.write(replyTo(r.ID, object, err))
}

func replyTo(id int64, object map[string]any, err error) reply {
	answer := reply{ID: id, At: now(), Object: object}
	if err != nil {
		answer.Error = err.Error()
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		answer.Reason, answer.Code = string(status.Status().Reason), status.Status().Code
	}
	return answer
}

// do carries out a request of any verb but watch.
func (b *bridge) do(ctx context.Context, r request) (map[string]any, error) {
	if r.Verb == "unwatch" {
		return nil, b.unwatch(r.Watch)
	}
	resource, err := b.resource(r)
	if err != nil {
		return nil, err
	}
	var subresources []string
	if r.Subresource != "" {
		subresources = []string{r.Subresource}
	}
	var object *unstructured.Unstructured
	switch r.Verb {
	case "create":
		options := metav1.CreateOptions{FieldManager: manager}
		body := new(unstructured.Unstructured)
		err = errors.Join(optionsOf(r, &options), body.UnmarshalJSON(r.Body))
		if err == nil {
			object, err = resource.Create(ctx, body, options, subresources...)
		}
	case "get":
		var options metav1.GetOptions
		if err = optionsOf(r, &options); err == nil {
			object, err = resource.Get(ctx, r.Name, options, subresources...)
		}
	case "list":
		var options metav1.ListOptions
		var list *unstructured.UnstructuredList
		if err = optionsOf(r, &options); err == nil {
			list, err = resource.List(ctx, options)
		}
		if err == nil {
			for i := range list.Items {
				list.Items[i].SetManagedFields(nil)
			}
			return list.UnstructuredContent(), nil
		}
	case "patch":
		object, err = patch(ctx, resource, r, subresources)
	case "delete":
		var options metav1.DeleteOptions
		if err = optionsOf(r, &options); err == nil {
			err = resource.Delete(ctx, r.Name, options, subresources...)
		}
	case "evict":
		err = evict(ctx, resource, r)
	default:
		err = fmt.Errorf("unknown verb %q", r.Verb)
	}
	if err != nil || object == nil {
		return nil, err
	}
	object.SetManagedFields(nil)
	return object.Object, nil
}

// resource returns the client of what a request is about.
func (b *bridge) resource(r request) (dynamic.ResourceInterface, error) {
	group, rest, hasGroup := strings.Cut(r.Resource, "/")
	version, plural, ok := strings.Cut(rest, "/")
	if !ok { // of the core group, which has no name
		group, version, plural = "", group, version
	}
	if !hasGroup || version == "" || plural == "" || strings.Contains(plural, "/") {
		return nil, fmt.Errorf("resource %q: write VERSION/PLURAL or GROUP/VERSION/PLURAL",
			r.Resource)
	}
	resource := b.client.Resource(schema.GroupVersionResource{
		Group: group, Version: version, Resource: plural})
	if r.Namespace == "" {
		return resource, nil
	}
	return resource.Namespace(r.Namespace), nil
}

func patch(
	ctx context.Context, resource dynamic.ResourceInterface, r request, subresources []string,
) (*unstructured.Unstructured, error) {
	kind, ok := patchTypes[r.Patch]
	if !ok {
		return nil, fmt.Errorf("unknown patch %q", r.Patch)
	}
	options := metav1.PatchOptions{FieldManager: manager}
	if kind == types.ApplyPatchType {
		force := true
		options.Force = &force // whoever changed a field before, it is this program's now
	}
	if err := optionsOf(r, &options); err != nil {
		return nil, err
	}
	return resource.Patch(ctx, r.Name, kind, r.Body, options, subresources...)
}

// evict asks for a pod's eviction, which a PodDisruptionBudget can refuse: kubectl drain does this.
func evict(ctx context.Context, pods dynamic.ResourceInterface, r request) error {
	if err := optionsOf(r, &metav1.DeleteOptions{}); err != nil {
		return err
	}
	eviction := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy/v1", "kind": "Eviction",
		"metadata": map[string]any{"name": r.Name, "namespace": r.Namespace},
	}}
	if len(r.Options) > 0 {
		eviction.Object["deleteOptions"] = r.Options
	}
	_, err := pods.Create(ctx, eviction, metav1.CreateOptions{FieldManager: manager}, "eviction")
	return err
}

// optionsOf decodes a request's options over the defaults in options.
func optionsOf(r request, options any) error {
	if len(r.Options) == 0 {
		return nil
	}
	if err := strictly(r.Options, options); err != nil {
		return fmt.Errorf("options of %s: %w", r.Verb, err)
	}
	return nil
}

// strictly decodes JSON, and refuses unknown fields.
func strictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// write adds a line to the output. It waits only if the reader is far behind, so what comes next
// gets the right instant.
func (b *bridge) write(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err) // of values that came as JSON
	}
	b.lines <- append(text, '\n')
}

// now returns the monotonic clock's nanoseconds, the same in all processes of the machine.
func now() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // clock_gettime(2) fails only for unknown clocks
	}
	return now.Nano()
}
