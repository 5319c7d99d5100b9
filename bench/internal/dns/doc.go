// Package dns is both ends of service discovery by name: a server that answers for services as a
// cluster's DNS does, and resolvers that cache as real clients do.
//
// The messages are github.com/miekg/dns's; what is asked, kept and forgotten is this package's own.
// The server is authoritative for Domain and knows A records only. Whoever makes its sockets
// decides the network that it listens in.
//
// A Resolver is one client's cache. Clients differ in nothing as much as in this, so it is the
// variable of the experiment: see Policy. A process that stands for many clients has as many
// resolvers, each with a seed of its own.
package dns
