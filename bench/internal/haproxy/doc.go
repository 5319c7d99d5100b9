// Package haproxy runs a real HAProxy in front of backends: its configuration, its process and its
// runtime API.
//
// Nothing is on disk. HAProxy inherits two descriptors: a memfd with its configuration, and the
// socket of its runtime API. The socket listens before HAProxy starts, so the first answer on it
// shows that HAProxy is ready, without polling. When HAProxy dies, the socket is gone.
//
// References to the manuals mean the manuals of HAProxy 2.6:
// https://docs.haproxy.org/2.6/configuration.html and management.html.
package haproxy
