package load

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/wire"
)

// A realServer describes how to start a third-party program that serves HTTP.
type realServer struct {
	program string
	args    []string // ADDRESS, HOST, PORT and DIR are replaced by the test's values
	files   map[string]string
	cases   []realCase
}

// A realCase describes attempts made one after the other on kept connections, and the way in which
// the server answers them.
type realCase struct {
	name     string
	request  Request
	body     int
	attempts int
	conns    int           // number of connections that the attempts use
	class    results.Class // of all attempts
	status   int
	// unverified: nothing but EOF ends an answer. worker: the answers identify their worker. idle
	// is the time for which the server announces that it keeps an idle connection.
	unverified, worker bool
	idle               time.Duration
}

var realServers = []realServer{
	{
		program: "nginx",
		args:    []string{"-p", "DIR", "-c", "nginx.conf", "-e", "error.log"},
		files: map[string]string{
			"large": strings.Repeat("0123456789abcdef", 1<<17),
			"nginx.conf": `daemon off; master_process off; pid nginx.pid;
events { worker_connections 64; }
http {
	access_log off; client_max_body_size 1k; keepalive_timeout 75s 60s;
	client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp;
	uwsgi_temp_path temp; scgi_temp_path temp;
	server {
		listen ADDRESS; root DIR;
		location / { add_header Worker $pid always; return 200 "ok\n"; }
		location /large { }
		location /ssi { ssi on; ssi_types *; try_files /large =404; } # of unknown length: chunked
		location /none { return 204; }
		location /busy { return 503; }
		location /three { keepalive_requests 3; return 200 "ok\n"; }
	}
}
`,
		},
		cases: []realCase{
			{name: "small", attempts: 50, conns: 1, status: 200, worker: true,
				idle: time.Minute},
			{name: "HEAD", request: Request{Method: "HEAD"}, attempts: 5, conns: 1, status: 200,
				worker: true, idle: time.Minute},
			{name: "2 MB", request: Request{Path: "/large"}, attempts: 5, conns: 1, status: 200,
				idle: time.Minute},
			{name: "2 MB in chunks", request: Request{Path: "/ssi"}, attempts: 5, conns: 1,
				status: 200, idle: time.Minute},
			{name: "204", request: Request{Path: "/none", Status: []StatusRange{{200, 299}}},
				attempts: 5, conns: 1, status: 204, idle: time.Minute},
			{name: "503", request: Request{Path: "/busy"}, attempts: 5, conns: 1,
				class: results.ClassErrorAnswer, status: 503, idle: time.Minute},
			{name: "three for each connection", request: Request{Path: "/three"}, attempts: 7,
				conns: 3, status: 200, idle: time.Minute},
			{name: "413", request: Request{Path: "/large"}, body: 8 << 20, attempts: 3, conns: 3,
				class: results.ClassErrorAnswer, status: 413},
			{name: "400", request: Request{Headers: []wire.Field{{Name: "Host", Value: "a b"}}},
				attempts: 2, conns: 2, class: results.ClassErrorAnswer, status: 400},
		},
	},
	{
		program: "haproxy",
		args:    []string{"-db", "-f", "haproxy.cfg"},
		files: map[string]string{"haproxy.cfg": `defaults
	mode http
	timeout connect 1s
	timeout client 5s
	timeout server 5s
frontend fe
	bind ADDRESS
	http-after-response set-header Worker %pid
	http-request return status 200 content-type text/plain string ok unless { path /none }
	default_backend none
backend none
`},
		cases: []realCase{
			{name: "small", attempts: 50, conns: 1, status: 200, worker: true},
			{name: "503", request: Request{Path: "/none"}, attempts: 5, conns: 1,
				class: results.ClassErrorAnswer, status: 503, worker: true},
		},
	},
	{
		program: "node",
		args:    []string{"server.js"},
		files: map[string]string{"server.js": `require('http').createServer((q, r) => {
	r.setHeader('Worker', process.pid);
	if (q.url == '/hints') r.writeEarlyHints({link: '</a.css>; rel=preload'});
	if (q.url == '/trailer') { r.setHeader('Trailer', 'Sum'); r.addTrailers({Sum: '1'}); }
	if (q.url == '/large') { r.write(Buffer.alloc(1 << 21)); r.write('x'); return r.end(); }
	if (q.url == '/cookies') r.setHeader('Set-Cookie', Array(9).fill('c'.repeat(3000)));
	r.write('o'); r.end('k\n'); // chunked
}).listen(PORT, 'HOST');
`},
		cases: []realCase{
			{name: "chunks", attempts: 50, conns: 1, status: 200, worker: true,
				idle: 5 * time.Second},
			{name: "103", request: Request{Path: "/hints"}, attempts: 5, conns: 1, status: 200,
				worker: true, idle: 5 * time.Second},
			{name: "trailer", request: Request{Path: "/trailer"}, attempts: 5, conns: 1,
				status: 200, worker: true, idle: 5 * time.Second},
			{name: "2 MB", request: Request{Path: "/large"}, attempts: 5, conns: 1, status: 200,
				worker: true, idle: 5 * time.Second},
			{name: "27 kB of cookies", request: Request{Path: "/cookies"}, attempts: 5, conns: 1,
				status: 200, worker: true, idle: 5 * time.Second},
			{name: "HEAD", request: Request{Method: "HEAD"}, attempts: 5, conns: 1, status: 200,
				worker: true, idle: 5 * time.Second},
		},
	},
	{
		program: "python3",
		args:    []string{"server.py"},
		files: map[string]string{"server.py": `import http.server, os
class Handler(http.server.SimpleHTTPRequestHandler):
	def do_GET(self):
		if self.path != '/end': return super().do_GET()
		self.send_response(200)
		self.send_header('Worker', str(os.getpid()))
		self.end_headers()
		self.wfile.write(b'x' * (1 << 20)) # as long as the connection lasts
http.server.HTTPServer(('HOST', PORT), Handler).serve_forever()
`},
		cases: []realCase{
			{name: "HTTP/1.0", attempts: 5, conns: 5, status: 200},
			{name: "to the end of the connection", request: Request{Path: "/end"}, attempts: 5,
				conns: 5, status: 200, unverified: true, worker: true},
			{name: "404", request: Request{Path: "/nowhere"}, attempts: 5, conns: 5,
				class: results.ClassErrorAnswer, status: 404},
			{name: "501", request: Request{Method: "PATCH"}, attempts: 5, conns: 5,
				class: results.ClassErrorAnswer, status: 501},
		},
	},
}

// TestKernelServers sends attempts to those of the servers that are installed.
func TestKernelServers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, s := range realServers {
		t.Run(s.program, func(t *testing.T) {
			t.Parallel() // most of the time is spent on starting the servers
			path, err := exec.LookPath(s.program)
			if err != nil {
				t.Skip(err)
			}
			at := s.start(t, path)
			for _, c := range s.cases {
				t.Run(c.name, func(t *testing.T) { c.run(t, at) })
			}
		})
	}
}

// start starts the server and returns its address once it accepts connections. The server is killed
// when the test ends.
func (s *realServer) start(t *testing.T, path string) netip.AddrPort {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("ADDRESS", at.String(), "HOST", at.Addr().String(),
		"PORT", fmt.Sprint(at.Port()), "DIR", dir).Replace
	for name, text := range s.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fill(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := slices.Clone(s.args)
	for i := range args {
		args[i] = fill(args[i])
	}
	cmd := exec.Command(path, args...)
	output := &strings.Builder{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // always an error: the server was killed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s: %s", s.program, output)
		}
	})
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp4", at.String())
		if err == nil {
			_ = c.Close()
			return at
		}
		select {
		case <-ended:
			t.Fatalf("%s has ended: %s", s.program, output)
		default:
		}
		if time.Now().After(until) {
			t.Fatalf("%s does not listen: %v", s.program, err)
		}
	}
}

func (c *realCase) run(t *testing.T, at netip.AddrPort) {
	tr, finish := newTestTransport(t, Config{Processes: 1, Target: at, Timeout: 10 * time.Second,
		Shape: atOnce(c.attempts), Connections: vocabulary.ConnectionsReused, Body: c.body,
		Request: c.request, Identify: Identify{Worker: "Worker"}})
	oneByOne(t, tr, 0, uint64(c.attempts))
	if len(tr.pool.idle) > 0 {
		left := tr.pool.idle[0].expires.Sub(tr.clock.Now())
		if c.idle == 0 != (left > time.Hour) || c.idle > 0 && left > c.idle {
			t.Errorf("the connection expires in %v, want less than %v", left, c.idle)
		}
	}
	if got := len(tr.identities().Workers); got == 1 != c.worker {
		t.Errorf("%d workers, want one: %t", got, c.worker)
	}
	samples, _ := finish()
	conns := map[netip.AddrPort]bool{}
	for _, s := range samples {
		conns[s.Source] = true
		if s.Class != c.class || s.Status != c.status || s.Unverified != c.unverified {
			t.Errorf("attempt %d: %v, status %d, unverified %t; want %v, %d, %t", s.Sequence,
				s.Class, s.Status, s.Unverified, c.class, c.status, c.unverified)
		}
		if (s.Worker == 0) != c.worker {
			t.Errorf("attempt %d: worker %d, want one: %t", s.Sequence, s.Worker, c.worker)
		}
	}
	if len(conns) != c.conns {
		t.Errorf("%d connections, want %d", len(conns), c.conns)
	}
}
