// Package haproxy runs one real HAProxy in front of backends: its configuration, its process, and
// its runtime API.
//
// Nothing of it is on disk. HAProxy reads its configuration from a memfd and serves its runtime API
// on a socket that it inherits, both descriptors of the child. The socket is listening before
// HAProxy exists, so its first answer is the news that it is ready, and nobody has to ask twice;
// and when HAProxy dies it is gone with it.
//
// References to the manuals mean those of HAProxy 2.6:
// https://docs.haproxy.org/2.6/configuration.html and management.html.
package haproxy
