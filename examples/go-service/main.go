// Go-service is a small HTTP service that can be restarted in several ways. It listens at $HOST and
// $PORT, or at a socket that is passed to it (LISTEN_FDS). With -tableflip it starts its successor
// itself and passes its socket on. With -drain it answers every connection that it has accepted
// before it calls Shutdown.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"
)

const (
	pidFile = "service.pid"   // holds the PID of the process that serves
	grace   = 5 * time.Second // how long a stop may take to finish the requests in hand
	linger  = time.Second     // how long -drain keeps idle connections open for a last request
)

var drains = flag.Bool("drain", false, "answer every accepted connection before Shutdown")

func main() {
	flips := flag.Bool("tableflip", false, "at SIGHUP, start a successor and pass the socket on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	run := serveAlone
	if *flips {
		run = serveUntilFlip
	}
	address := net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT"))
	if err := run(ctx, address); err != nil {
		log.Fatal(err)
	}
}

// serveAlone serves until ctx ends.
func serveAlone(ctx context.Context, address string) error {
	l, err := listen(address)
	if err != nil {
		return err
	}
	return serve(ctx, l, func() error {
		pid := strconv.Itoa(os.Getpid())
		return errors.Join(os.WriteFile(pidFile, []byte(pid), 0o644), notifyReady())
	})
}

// listen returns the socket that was passed to this process (sd_listen_fds(3)), or opens one.
func listen(address string) (net.Listener, error) {
	pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID"))
	if n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS")); n > 0 && pid == os.Getpid() {
		const first = 3
		f := os.NewFile(first, "listener")
		defer f.Close()
		return net.FileListener(f)
	}
	return net.Listen("tcp", address)
}

// serve serves until ctx ends, and then finishes the requests in hand.
func serve(ctx context.Context, l net.Listener, ready func() error) error {
	c := connections{states: map[net.Conn]http.ConnState{}}
	server := &http.Server{Handler: http.HandlerFunc(c.answer), ConnState: c.note}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	if err := ready(); err != nil {
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if *drains {
		l.Close() // closes this process's descriptor; the socket stays open in another process
		<-served  // from here on, this process accepts no connection
		c.drain(ctx)
	}
	return server.Shutdown(ctx)
}

// connections holds the state of each open connection.
type connections struct {
	mu       sync.Mutex
	states   map[net.Conn]http.ConnState
	draining atomic.Bool
}

// note implements http.Server.ConnState.
func (c *connections) note(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.states[conn] = s; s == http.StateClosed || s == http.StateHijacked {
		delete(c.states, conn)
	}
}

// drain waits until every accepted connection is answered and closed. It waits for idle connections
// no longer than linger. Shutdown itself does not wait: it drops a connection whose request it has
// not read yet, and closes idle connections on which a request may be on its way.
func (c *connections) drain(ctx context.Context) {
	c.draining.Store(true)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(linger); ctx.Err() == nil; <-tick.C {
		open, idle := c.count()
		if open == 0 || open == idle && time.Now().After(until) {
			return
		}
	}
}

// count returns the number of open connections, and how many of them are idle.
func (c *connections) count() (open, idle int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.states {
		if s == http.StateIdle {
			idle++
		}
	}
	return len(c.states), idle
}

func (c *connections) answer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Worker", strconv.Itoa(os.Getpid()))
	if c.draining.Load() {
		w.Header().Set("Connection", "close") // the client's next request gets a new connection
	}
	io.WriteString(w, "ok\n")
}

// notifyReady says READY=1 to whoever started this process, if it asked for that (sd_notify(3)).
func notifyReady() error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("READY=1"))
	return err
}

// serveUntilFlip serves until ctx ends or a successor is ready. Each SIGHUP starts one.
func serveUntilFlip(ctx context.Context, address string) error {
	up, err := tableflip.New(tableflip.Options{PIDFile: pidFile})
	if err != nil {
		return err
	}
	defer up.Stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			if err := up.Upgrade(); err != nil {
				log.Print("upgrade: ", err)
			}
		}
	}()
	l, err := up.Listen("tcp", address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-up.Exit()
		cancel()
	}()
	return serve(ctx, l, up.Ready)
}
