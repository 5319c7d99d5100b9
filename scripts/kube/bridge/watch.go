package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// The types of events. The first three are the API's.
const (
	added    = string(watch.Added)
	modified = string(watch.Modified)
	deleted  = string(watch.Deleted)
	synced   = "SYNCED" // all that a list found was sent
	lost     = "LOST"   // the watch broke; a new list follows, and SYNCED
)

const (
	// relistEvery is how often a broken watch tries to list again.
	relistEvery = 100 * time.Millisecond
	// watchFor is how long the API server keeps a watch. Its default is 30 to 60 minutes.
	watchFor = 30 * 24 * time.Hour
)

// event is a line of the output: what a watch saw.
type event struct {
	Watch  int64          `json:"watch"` // the ID of the request that began it
	At     int64          `json:"at"`    // when it came: nanoseconds of CLOCK_MONOTONIC
	Type   string         `json:"type"`
	Object map[string]any `json:"object,omitempty"`
	Error  string         `json:"error,omitempty"` // of LOST
}

// watcher follows the objects of one request.
type watcher struct {
	id       int64
	resource dynamic.ResourceInterface
	options  metav1.ListOptions
	known    map[types.UID]*unstructured.Unstructured
	write    func(line any)

	cancel func()
	ended  chan struct{} // closed when no event follows
}

// watch begins a watch, and replies once the objects are listed. Their events follow.
func (b *bridge) watch(ctx context.Context, r request) error {
	resource, err := b.resource(r)
	if err != nil {
		return err
	}
	w := &watcher{id: r.ID, resource: resource, write: b.write,
		known: map[types.UID]*unstructured.Unstructured{}, ended: make(chan struct{})}
	if err := optionsOf(r, &w.options); err != nil {
		return err
	}
	ctx, w.cancel = context.WithCancel(ctx)
	list, err := resource.List(ctx, w.options)
	if err == nil {
		err = b.remember(w)
	}
	if err != nil {
		w.cancel()
		return err
	}
	b.write(replyTo(r.ID, nil, nil))
	b.inFlight.Go(func() {
		defer close(w.ended)
		w.run(ctx, list)
	})
	return nil
}

func (b *bridge) remember(w *watcher) error {
	b.watching.Lock()
	defer b.watching.Unlock()
	if b.watches[w.id] != nil {
		return fmt.Errorf("watch %d exists", w.id)
	}
	b.watches[w.id] = w
	return nil
}

// unwatch ends a watch. When it returns, no event of the watch follows.
func (b *bridge) unwatch(id int64) error {
	b.watching.Lock()
	w := b.watches[id]
	delete(b.watches, id)
	b.watching.Unlock()
	if w == nil {
		return fmt.Errorf("no watch %d", id)
	}
	w.cancel()
	<-w.ended
	return nil
}

// run sends the events of the objects until ctx ends. It begins with those of a list.
func (w *watcher) run(ctx context.Context, list *unstructured.UnstructuredList) {
	for list != nil {
		w.compare(list)
		err := w.follow(ctx, list.GetResourceVersion())
		if ctx.Err() != nil {
			return
		}
		w.write(event{Watch: w.id, At: now(), Type: lost, Error: err.Error()})
		list = w.relist(ctx)
	}
}

// relist lists the objects, and tries until it succeeds. It returns nil if ctx ends.
func (w *watcher) relist(ctx context.Context) *unstructured.UnstructuredList {
	for {
		list, err := w.resource.List(ctx, w.options)
		if err == nil {
			return list
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(relistEvery):
		}
	}
}

// compare sends the differences between the objects of a list and the known ones.
func (w *watcher) compare(list *unstructured.UnstructuredList) {
	at := now()
	present := map[types.UID]bool{}
	for i := range list.Items {
		present[list.Items[i].GetUID()] = true
	}
	for uid, object := range w.known {
		if !present[uid] {
			w.send(at, deleted, object)
		}
	}
	for i := range list.Items {
		object := &list.Items[i]
		switch known := w.known[object.GetUID()]; {
		case known == nil:
			w.send(at, added, object)
		case known.GetResourceVersion() != object.GetResourceVersion():
			w.send(at, modified, object)
		}
	}
	w.write(event{Watch: w.id, At: at, Type: synced})
}

// follow sends the changes since a version of the resource, until the watch breaks. It returns why.
func (w *watcher) follow(ctx context.Context, version string) error {
	options := w.options
	options.ResourceVersion = version
	seconds := int64(watchFor / time.Second)
	options.TimeoutSeconds = &seconds
	changes, err := w.resource.Watch(ctx, options)
	if err != nil {
		return err
	}
	defer changes.Stop()
	for change := range changes.ResultChan() {
		at := now()
		if change.Type == watch.Error {
			return apierrors.FromObject(change.Object)
		}
		if object, ok := change.Object.(*unstructured.Unstructured); ok {
			w.send(at, string(change.Type), object)
		}
	}
	return errors.New("the connection to the API server ended")
}

// send sends an event of an object, and keeps what is known of it.
func (w *watcher) send(at int64, kind string, object *unstructured.Unstructured) {
	object.SetManagedFields(nil)
	if kind == deleted {
		delete(w.known, object.GetUID())
	} else {
		w.known[object.GetUID()] = object
	}
	w.write(event{Watch: w.id, At: at, Type: kind, Object: object.Object})
}
