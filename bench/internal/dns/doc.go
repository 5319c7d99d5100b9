// Package dns is both ends of service discovery by name: a server that answers for services like a
// cluster's DNS, and resolvers that cache like real clients.
//
// github.com/miekg/dns encodes the messages; the server and the cache are this package's. The
// server is authoritative for Domain and has only A records. The caller makes its sockets, in the
// network of its choice.
//
// A Resolver is the cache of one client. The caching policy (vocabulary.DNSCache) is where real
// clients differ most, so scenarios vary it. A process that stands for many clients has one
// resolver with its own seed for each.
package dns
