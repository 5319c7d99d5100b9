// Package worker is a worker process: how it listens, accepts, serves, and ends. Package servers
// starts it and commands it (see protocol.go there).
//
// worker.go has what every kind of server shares, listener.go how a worker gets its listener.
// loop.go and http.go are the kinds of server. blocking.go and source.go are ways to accept, and
// acceptor.go is the process that accepts for others.
package worker
