// Package dns has both ends of service discovery by name: a server that answers for services as a
// cluster's DNS does, and resolvers that cache as real clients do.
//
// github.com/miekg/dns encodes the messages; the server and the cache are this package's. The
// server is authoritative for Domain and has only A records. The caller makes its sockets, in the
// network of its choice.
//
// A Resolver is the cache of one client. The caching policy (vocabulary.DNSCache) is where real
// clients differ most, so scenarios vary it. A process that simulates many clients has a resolver
// for each client, each with its own seed.
package dns
