package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// faultServer is a server in Python that mistreats 137 connections, beginning with the 101st, in
// the way that $FAULT names.
const faultServer = `
      import os, socket, struct, time
      fault, n, held = os.environ["FAULT"], 0, []
      s = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])), backlog=4096)
      def answer(status, length, body):
          return b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
              status, length, body)
      while True:
          c, _ = s.accept()
          n += 1
          now = fault if 100 < n <= 237 else ""
          if now == "hold":
              held.append(c)
              continue
          if now == "unread":
              while not c.recv(1, socket.MSG_PEEK):
                  pass
              c.close()
              continue
          c.recv(65536)
          if now == "reset":
              c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
          elif now == "cut":
              c.sendall(answer(200, 100, b"part"))
          elif now == "error":
              c.sendall(answer(500, 2, b"no"))
          elif now != "silent":
              c.sendall(answer(200, 2, b"ok"))
          c.close()
`

// A third-party server mistreats a known number of connections in a known way. Although the server
// keeps no journal, the ledger finds the right cause of each loss. It does so whether root or an
// ordinary user runs the program.
func TestKernelCommandFaults(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const k = 137
	causes := map[string]string{
		"none": "", "reset": "closed_by_worker", "silent": "closed_by_worker",
		"unread": "closed_by_worker", "hold": "timeout", "cut": "cut_off", "error": "error_answer",
	}
	for _, user := range users(t) {
		t.Run(user.name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t)
			p.actAs(t, user.credential)
			run, stderr, status := p.run(t, `
name: faults
about: A server with a fault of known size.
server:
  kind: command
  start: python3 -u server.py
  env: {FAULT: "{{vars.fault}}"}
  vars: {fault: none}
  files:
    server.py: |`+faultServer+`
load: {rate: 500/s, duration: 900ms}
matrix: [{server.vars.fault: [none, reset, silent, unread, hold, cut, error]}]
trials: 1
`+lenient)
			if status != 0 {
				t.Fatalf("exit status %d:\n%s", status, stderr)
			}
			checkTrials(t, run)
			for _, v := range run.Scenarios[0].Variants {
				fault, tr := v.Labels["server.vars.fault"], lastTrial(v)
				t.Logf("%s: %v, evidence %+v", fault, tr.LostByCause, tr.Evidence)
				want := map[string]int64{}
				if cause := causes[fault]; cause != "" {
					want[cause] = k
				}
				if !maps.Equal(tr.LostByCause, want) {
					t.Errorf("%s: lost by cause %v, want %v", fault, tr.LostByCause, want)
				}
			}
		})
	}
}

// background is a server in Python that closes each connection when it has read the tenth request
// on it, as servers do at a limit of requests, but without an answer.
const background = `
      import asyncio, os, socket
      async def serve(reader, writer):
          for n in range(10):
              try:
                  await reader.readuntil(b"\r\n\r\n")
              except (asyncio.IncompleteReadError, OSError):
                  break
              if n < 9:
                  writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
          writer.close()
      async def main():
          await (await asyncio.start_server(serve, sock=socket.socket(fileno=3))).serve_forever()
      asyncio.run(main())
`

// A server loses kept connections by itself. These losses are counted as background, and not blamed
// on a restart, except those between its trigger and the instant at which it is over.
func TestKernelBackground(t *testing.T) {
	requireLab(t)
	installed(t, "python3")
	t.Parallel()
	const rate, connections = 300, 4
	scenario := `
about: A server that closes each connection after some requests.
workers: 1
sockets: shared
server:
  kind: command
  start: python3 -u server.py
  files:
    server.py: |` + background + `
  ready: {http: /}
  restarts: {next: [{stop: previous}, {start: next}]}
restart: next
load: {rate: ` + fmt.Sprint(rate) + `/s, duration: 1800ms, connections: ` + fmt.Sprint(connections) +
		`, timeout: 10s}
`
	for name, timeline := range map[string]string{
		"no steps": "", "restart": "timeline: [{at: 600ms, do: restart}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := tried(t, scenario+timeline)
			if !tr.Valid || tr.Background == nil {
				t.Fatalf("valid %v, background %v: %v", tr.Valid, tr.Background, tr.InvalidReasons)
			}
			// Every tenth request on a connection is lost. At the end, up to nine requests on each
			// connection have not yet led to a loss, and so at the restart.
			least := (tr.Attempts - 2*9*connections) / 10
			var blamed int64
			for k := range tr.Steps {
				s := &tr.Steps[k]
				if s.ReadyNS == nil || s.StopNS == nil {
					t.Fatalf("step %+v is not over", s)
				}
				n, _ := tr.StepDropped(k)
				blamed += n
				// Until the restart is over, it is blamed for every loss: every tenth request, and
				// the connections that it closes. Requests arrive at random: 4.5 standard
				// deviations more than expected are allowed.
				window := time.Duration(*s.ReadyNS - *s.StopNS)
				sent := window.Seconds() * rate
				most := int64((sent+4.5*math.Sqrt(sent))/10) + 2*connections
				t.Logf("the restart took %v and dropped %d, at most %d", window, n, most)
				if n > most {
					t.Errorf("%d dropped by the restart, want at most %d", n, most)
				}
			}
			if *tr.Background+blamed != tr.Dropped || tr.Dropped < least {
				t.Errorf("%d dropped, %d of them in the background, %d by steps; want at least %d",
					tr.Dropped, *tr.Background, blamed, least)
			}
		})
	}
}

// prober is a client that shares no code with this program. 200 times per second, it opens a
// connection, sends a request, and counts the outcome as served or lost.
const prober = `
          import json, os, socket, sys, threading, time
          address = (os.environ["HOST"], int(os.environ["PORT"]))
          count = {"sent": 0, "served": 0, "lost": 0}
          lock = threading.Lock()
          def one():
              outcome = "lost"
              try:
                  with socket.create_connection(address, timeout=0.9) as c:
                      c.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
                      if b" 200 " in c.recv(4096):
                          outcome = "served"
              except OSError:
                  pass
              with lock:
                  count["sent"] += 1
                  count[outcome] += 1
                  new = os.environ["OUT"] + ".new"
                  with open(new, "w") as f:
                      json.dump(count, f)
                  os.replace(new, os.environ["OUT"])  # at no time is the file incomplete
          print("ready", flush=True)
          while True:
              try:
                  socket.create_connection(address).close()
                  break
              except OSError:
                  time.sleep(0.01)
          due = time.monotonic()
          while True:
              threading.Thread(target=one).start()
              due += 0.005
              time.sleep(max(0, due - time.monotonic()))
`

// The load and prober, an independent client, both send requests to a server that is restarted. The
// losses of either one give the same estimate of the total time without a listener. The ledger
// counts the prober's connections as strangers: connections that the load did not open.
func TestKernelIndependentProber(t *testing.T) {
	requireLab(t)
	t.Parallel()
	out := filepath.Join(t.TempDir(), "prober.json")
	if err := os.WriteFile(out, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for dir := out; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	run := carriedOut(t, `
name: probed
about: A hole that two clients see.
server:
  kind: command
  start: python3 -u server.py
  files:
    server.py: |
      import os, socket
      s = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])), backlog=4096)
      while True:
          c, _ = s.accept()
          c.recv(65536)
          c.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
          c.close()
  restarts: {hole: [{stop: previous}, {start: next}, {wait: {ready: next}}]}
  beside:
    prober:
      start: python3 -u prober.py
      env: {OUT: `+out+`, PORT: "8080"}
      ready: {stdout: ready}
      files:
        prober.py: |`+prober+`
load: {rate: 500/s, duration: 2500ms}
timeline: [{at: 300ms, every: 600ms, do: restart}]
trials: 1
`+lenient)
	tr := lastTrial(run.Scenarios[0].Variants[0])
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var seen struct{ Sent, Served, Lost float64 }
	if err := json.Unmarshal(text, &seen); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	t.Logf("the load lost %d of %d in %d restarts, the prober %.0f of %.0f; %+v", tr.Lost,
		tr.Attempts, len(tr.Steps), seen.Lost, seen.Sent, tr.Witness)
	// The number of requests that a client loses, divided by its rate, estimates the time without a
	// listener, in seconds.
	const loadRate, probeRate = 500, 200
	byLoad, byProber := float64(tr.Lost)/loadRate, seen.Lost/probeRate
	slack := 3 * math.Sqrt(float64(tr.Lost)/loadRate/loadRate+seen.Lost/probeRate/probeRate)
	if len(tr.Steps) != 4 || tr.Lost < 20 || math.Abs(byLoad-byProber) > slack+0.02 {
		t.Errorf("%d restarts: the load estimates %.3f s without a listener, the prober %.3f s, "+
			"±%.3f", len(tr.Steps), byLoad, byProber, slack)
	}
	if tr.Witness == nil || tr.Witness.Strangers < int64(seen.Served/2) {
		t.Errorf("witness %+v, want the prober's connections among the strangers", tr.Witness)
	}
}
