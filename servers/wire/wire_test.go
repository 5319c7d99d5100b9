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
			b := AppendRequest(nil, "127.0.0.1:80", tt.want.Attempt, tt.body, tt.closing)
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

func TestResponseRoundTrip(t *testing.T) {
	b := AppendResponse(nil, 7, 12, Close)
	got, n, err := ParseResponse(b)
	if err != nil || n+got.BodyLen != len(b) {
		t.Fatalf("used %d + %d of %d bytes, %v", n, got.BodyLen, len(b), err)
	}
	want := Response{Status: 200, Worker: 7, Generation: 12, BodyLen: 3, Close: true}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
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
	for _, in := range []string{
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
		"FTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
	} {
		if _, _, err := ParseResponse([]byte(in)); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseResponse(%q) = %v, want %v", in, err, ErrMalformed)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nAttempt: 0-1\r\n\r\n"))
	f.Add(AppendResponse(nil, 1, 2, Close))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, n, err := ParseRequest(b); n > len(b) || r.BodyLen < 0 || (err != nil && n != 0) {
			t.Errorf("request %+v, used %d of %d bytes, error %v", r, n, len(b), err)
		}
		if r, n, err := ParseResponse(b); n > len(b) || (err == nil && n > 0 && r.BodyLen < 0) {
			t.Errorf("response %+v, used %d of %d bytes, error %v", r, n, len(b), err)
		}
	})
}
