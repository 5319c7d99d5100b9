package load

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"reuseport-bench/servers/wire"
)

// Request describes the request of an attempt, and the response statuses that count the attempt as
// served. The zero value is for a worker of this program: GET /, or POST / with a Config.Body,
// answered with 200.
type Request struct {
	Method string `json:"method,omitzero"` // "": GET, or POST with a body
	Path   string `json:"path,omitzero"`   // with its query; "": /
	// Headers are added to the load's own headers. Host replaces the target's address.
	Headers []wire.Field `json:"headers,omitempty"`
	// Status lists the statuses that count an attempt as served; if it is empty, only 200 does.
	// With any other status the attempt is lost as results.ClassErrorAnswer.
	Status []StatusRange `json:"status,omitempty"`
}

// A StatusRange contains the statuses from From to To, both included.
type StatusRange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// ownHeaders are the headers that Headers must not contain. A load process writes these headers
// itself or does not support their effect: it neither awaits 100 (Continue) nor changes the
// protocol.
var ownHeaders = []string{
	"Attempt", "Connection", "Content-Length", "Expect", "Keep-Alive", "TE", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

// Validate returns an error that lists all mistakes in the request.
func (r Request) Validate() error {
	var errs []error
	wrong := func(is bool, format string, values ...any) {
		if is {
			errs = append(errs, fmt.Errorf("request: "+format, values...))
		}
	}
	wrong(r.Method != "" && !wire.IsToken(r.Method),
		"method %q: want a word such as GET", r.Method)
	wrong(r.Method == http.MethodConnect, "method %s: want one whose answer has an end", r.Method)
	wrong(r.Path != "" && r.Path[0] != '/', "path %q: want one that starts with /", r.Path)
	outside := func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }
	wrong(strings.ContainsFunc(r.Path, outside),
		"path %q: write spaces, fragments and whatever is not ASCII as %%20", r.Path)
	control := func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }
	for _, h := range r.Headers {
		wrong(!wire.IsToken(h.Name), "header %q: no name of a header", h.Name)
		wrong(strings.ContainsFunc(h.Value, control), "header %s: value %q: want no line ends "+
			"or other control characters", h.Name, h.Value)
		own := func(name string) bool { return strings.EqualFold(name, h.Name) }
		wrong(slices.ContainsFunc(ownHeaders, own), "header %s: the load sets it itself", h.Name)
	}
	for _, s := range r.Status {
		wrong(s.From < 200 || s.To > 599 || s.From > s.To, "status %d to %d: want 200 to 599",
			s.From, s.To)
	}
	return errors.Join(errs...)
}

// method returns the request's method. body is the length of its body, in bytes.
func (r Request) method(body int) string {
	if body > 0 {
		return cmp.Or(r.Method, http.MethodPost)
	}
	return cmp.Or(r.Method, http.MethodGet)
}

// template returns the request to a host. body is the length of its body, in bytes.
func (r Request) template(host string, body int) *wire.Template {
	var content []byte
	if body > 0 {
		content = bytes.Repeat([]byte{'x'}, body)
	}
	return wire.NewTemplate(r.method(body), cmp.Or(r.Path, "/"), host, r.Headers, content)
}

// serves reports whether an answer with that status counts the attempt as served.
func (r Request) serves(status int) bool {
	if len(r.Status) == 0 {
		return status == http.StatusOK
	}
	return slices.ContainsFunc(r.Status, func(s StatusRange) bool {
		return s.From <= status && status <= s.To
	})
}

// Identify names the response headers by which a third-party server identifies the process that
// answered, and that process's generation. The zero value is for this program's own workers, which
// identify themselves by number.
type Identify struct {
	Worker     string `json:"worker,omitzero"`
	Generation string `json:"generation,omitzero"`
}

// expect returns the properties of an answer to a request with that method.
func (i Identify) expect(method string) wire.Expect {
	e := wire.Own()
	if i != (Identify{}) {
		e.Worker, e.Generation = i.Worker, i.Generation
	}
	e.NoBody = method == http.MethodHead
	return e
}

// Identities lists the distinct values of the headers that Identify names. Samples hold indices
// into the lists.
type Identities struct {
	Workers     []string `json:"workers,omitempty"`
	Generations []string `json:"generations,omitempty"`
}

// Limits of Identities. A value is cut to maxIdentity bytes. Only the first maxIdentities values
// are listed; the index of any other is -1.
const (
	maxIdentity   = 64
	maxIdentities = 4096
)

// An index numbers the values of a header in the order in which they first appear.
type index struct {
	values []string
	of     map[string]int
}

// add returns the number of a value, or -1 if there are too many values.
func (x *index) add(value []byte) int {
	if len(value) == 0 {
		return -1
	}
	value = value[:min(len(value), maxIdentity)]
	n, known := x.of[string(value)] // this conversion does not allocate
	switch {
	case known:
		return n
	case len(x.values) == maxIdentities:
		return -1
	case x.of == nil:
		x.of = map[string]int{}
	}
	n = len(x.values)
	x.values = append(x.values, string(value))
	x.of[x.values[n]] = n
	return n
}
