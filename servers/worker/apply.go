package worker

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers"
)

// apply asks the Adopter at that path for the pipes and the journal of a worker. From then on
// SIGTERM does not end the process; reportTerm reports it.
func (w *worker) apply(path string) (control, events, journal int, err error) {
	w.terms = make(chan os.Signal, 1)
	signal.Notify(w.terms, unix.SIGTERM)
	// A loop keeps its P while it waits. The goroutines that handle the signal need another one.
	runtime.GOMAXPROCS(2)
	return servers.Apply(path, w.clock.Now())
}

// HoldMain is the main function of a process that holds a pod's namespaces, in which others start
// workers. It tells the Adopter of its environment, and waits for SIGTERM. If the Adopter's process
// closes the connection or exits before that, HoldMain returns an error.
func HoldMain() error {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, unix.SIGTERM)
	path := os.Getenv(servers.EnvAdopt)
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return err
	}
	defer conn.Close()
	request, err := json.Marshal(servers.Applicant{Pod: os.Getenv(servers.EnvPod)})
	if err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	closed := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		closed <- err
	}()
	select {
	case <-terms:
		return nil
	case err := <-closed:
		return fmt.Errorf("the run has closed the connection: %w", err)
	}
}

// reportTerm reports the first SIGTERM. The parent answers it with a command to stop.
func (w *worker) reportTerm() {
	<-w.terms
	// If this fails, the parent has exited, and the control pipe is at EOF, too.
	_ = w.send(servers.Event{Event: servers.EventTerm, At: w.clock.Now()})
}
