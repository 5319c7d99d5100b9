// Package worker is a worker process: how it listens, accepts, serves, and ends. Package servers
// starts it, and tells it what to do (protocol.go there).
//
// worker.go is what every kind of server shares, listener.go how a worker comes by its listener.
// loop.go and http.go are the kinds of server; blocking.go and source.go are ways to accept, and
// acceptor.go the process that accepts for others.
package worker
