package wire

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRequestRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name    string
		body    []byte
		closing Closing
		want    Request
	}{
		{"get close", nil, Close, Request{Attempt: Attempt{3, 1 << 40, 0}, Identified: true, Close: true}},
		{"a later try", nil, KeepAlive, Request{Attempt: Attempt{3, 1 << 40, MaxTry}, Identified: true}},
		{"post", []byte("hello"), KeepAlive, Request{Attempt: Attempt{3, 1 << 40, 1}, Identified: true, BodyLen: 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			method := "GET"
			if tt.body != nil {
				method = "POST"
			}
			template := NewTemplate(method, "/", "127.0.0.1:80", nil, tt.body)
			b := template.Append(nil, tt.want.Attempt, tt.closing)
			got, n, err := ParseRequest(b)
			if err != nil || n != len(b)-len(tt.body) {
				t.Fatalf("ParseRequest = %d bytes, %v; want %d", n, err, len(b)-len(tt.body))
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
			for i := range n {
				if _, m, err := ParseRequest(b[:i]); m != 0 || err != nil {
					t.Fatalf("first %d bytes: used %d, %v; want an incomplete head", i, m, err)
				}
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     error
	}{
		{"no method", " / HTTP/1.1\r\n\r\n", ErrMalformed},
		{"no version", "GET /\r\n\r\n", ErrMalformed},
		{"space before colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", ErrMalformed},
		{"attempt without dash", "GET / HTTP/1.1\r\nAttempt: 12\r\n\r\n", ErrMalformed},
		{"try number too high", "GET / HTTP/1.1\r\nAttempt: 1-2-128\r\n\r\n", ErrMalformed},
		{"empty try number", "GET / HTTP/1.1\r\nAttempt: 1-2-\r\n\r\n", ErrMalformed},
		{"huge body", "POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", ErrTooLarge},
		{"chunked", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", ErrMalformed},
		{"endless head", string(make([]byte, MaxHead)), ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := ParseRequest([]byte(tt.in)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nAttempt: 0-1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, n, err := ParseRequest(b); n > len(b) || r.BodyLen < 0 || (err != nil && n != 0) {
			t.Errorf("request %+v, used %d of %d bytes, error %v", r, n, len(b), err)
		}
	})
}

// TestTemplate compares requests with the expected text. The first case is the request that load
// processes have always sent.
func TestTemplate(t *testing.T) {
	attempt := Attempt{Process: 1, Sequence: 23}
	for _, tt := range []struct {
		name     string
		template *Template
		attempt  Attempt
		closing  Closing
		want     string
	}{
		{"GET", NewTemplate("GET", "/", "h:80", nil, nil), attempt, Close,
			"GET / HTTP/1.1\r\nHost: h:80\r\nAttempt: 1-23\r\nConnection: close\r\n\r\n"},
		{"POST, second try", NewTemplate("POST", "/", "h:80", nil, []byte("xy")),
			Attempt{Process: 1, Sequence: 23, Try: 1}, KeepAlive,
			"POST / HTTP/1.1\r\nHost: h:80\r\nAttempt: 1-23-1\r\nContent-Length: 2\r\n\r\nxy"},
		{"fields", NewTemplate("HEAD", "/a?b", "h:80", []Field{{"Accept", "*/*"}}, nil), attempt,
			KeepAlive, "HEAD /a?b HTTP/1.1\r\nHost: h:80\r\nAccept: */*\r\nAttempt: 1-23\r\n\r\n"},
		{"another host", NewTemplate("GET", "/", "h:80", []Field{{"host", "example.org"}}, nil),
			attempt, KeepAlive, "GET / HTTP/1.1\r\nhost: example.org\r\nAttempt: 1-23\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := string(tt.template.Append(nil, tt.attempt, tt.closing))
			if got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestRequestCloses checks that a request asks to close its connection if "close" is any one of the
// options of its Connection field.
func TestRequestCloses(t *testing.T) {
	for value, want := range map[string]bool{
		"close": true, "Close": true, "te, CLOSE": true, "keep-alive": false, "closed": false,
	} {
		in := "GET / HTTP/1.1\r\nconnection: " + value + "\r\n\r\n"
		r, n, err := ParseRequest([]byte(in))
		if err != nil || n != len(in) || r.Close != want {
			t.Errorf("Connection: %s: closes %t, want %t; %d bytes, %v",
				value, r.Close, want, n, err)
		}
	}
}

// BenchmarkRequest parses the request that a load process sends.
func BenchmarkRequest(b *testing.B) {
	template := NewTemplate("GET", "/", "127.0.0.1:8080", nil, nil)
	in := template.Append(nil, Attempt{Process: 1, Sequence: 123_456}, Close)
	b.ReportAllocs()
	for b.Loop() {
		if _, n, err := ParseRequest(in); n != len(in) || err != nil {
			b.Fatal(n, err)
		}
	}
}
