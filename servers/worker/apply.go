package worker

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers"
)

// apply asks the Adopter at that path for the pipes and the journal of a worker. From then on
// SIGTERM does not end the process; reportTerm reports it.
func (w *worker) apply(path string) (control, events, journal int, err error) {
	generation, err := strconv.Atoi(os.Getenv(servers.EnvGeneration))
	if err != nil {
		return -1, -1, -1, fmt.Errorf("%s: %w", servers.EnvGeneration, err)
	}
	w.terms = make(chan os.Signal, 1)
	signal.Notify(w.terms, unix.SIGTERM)
	// A loop keeps its P while it waits. The goroutines that handle the signal need another one.
	runtime.GOMAXPROCS(2)
	request, err := json.Marshal(servers.Applicant{
		Pod: os.Getenv(servers.EnvPod), Generation: generation, Asked: w.clock.Now(),
	})
	if err != nil {
		return -1, -1, -1, err
	}
	return askForPipes(path, request, servers.StartLimit)
}

// reportTerm reports the first SIGTERM. The parent answers it with a command to stop.
func (w *worker) reportTerm() {
	<-w.terms
	// If this fails, the parent has exited, and the control pipe is at EOF, too.
	_ = w.send(servers.Event{Event: servers.EventTerm, At: w.clock.Now()})
}
