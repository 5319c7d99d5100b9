// Package worker is a worker process: how it listens, accepts, serves, and ends. Package servers
// starts it and commands it (see protocol.go there).
//
// worker.go has the parts that all kinds of server share, and listener.go opens or receives the
// listener. loop.go and http.go are the kinds of server. blocking.go and source.go are ways to
// accept, and acceptor.go is the process that accepts connections for the workers.
package worker
