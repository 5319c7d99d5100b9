//go:build ignore

// The programs of LossTrace, one per tracepoint. losses.go lists what they report and what not.
//
// They run for all traffic on the machine, some of them several times per connection. So each first
// tests what excludes most events: states, reason, protocol or namespace.

#include <stdbool.h>

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "process.h"

// include/net/tcp_states.h
#define TCP_TIME_WAIT 6
#define TCP_CLOSE 7
#define TCP_LISTEN 10
#define TCP_NEW_SYN_RECV 12

// Flags in byte 13 of the TCP header (RFC 9293, 3.1)
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

// include/linux/socket.h, include/uapi/linux/if_ether.h, include/uapi/linux/in.h
#define AF_INET 2
#define AF_INET6 10
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define IPPROTO_TCP 6


char LICENSE[] SEC("license") = "Dual MIT/GPL";

// Set once, before loading.
const volatile bool any_namespace;     // only addresses decide
const volatile bool drop_has_receiver; // kfree_skb passes the receiving socket, too (Linux 6.11)

// The members of the kernel's structures that are read here. When a program is loaded, it is
// adapted to the running kernel's layout (CO-RE).
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	possible_net_t nd_net;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct socket {};

struct inode {
	unsigned long i_ino;
};

struct socket_alloc { // include/net/sock.h
	struct socket socket;
	struct inode vfs_inode;
};

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct request_sock_queue {
	__u8 rskq_defer_accept;
};

struct inet_connection_sock {
	struct request_sock_queue icsk_accept_queue;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned char *head;
	__be16 protocol;
	__u16 transport_header;
	__u16 network_header;
};

#pragma clang attribute pop

// include/net/dropreason-core.h. Loading replaces these numbers by those of the running kernel.
enum skb_drop_reason {
	SKB_CONSUMED = 1,
	SKB_DROP_REASON_NOT_SPECIFIED = 2,
	SKB_DROP_REASON_NO_SOCKET = 3,
	SKB_DROP_REASON_QUEUE_PURGE = 104,
};

enum kind { // LossKind
	RESET_SENT = 1,
	SEGMENT_DROPPED,
	LISTENER_CLOSED,
};

// Addresses are IPv6; IPv4 addresses are mapped (RFC 4291, 2.5.5.2). Ports: host byte order.
struct event {
	__u64 at;
	__u64 inode;
	__u32 reason;
	__u32 process;
	__u32 sequence;
	__u8 kind;
	__u8 flags;
	__u8 state;
	__u8 padding;
	__u8 source[16];
	__u8 destination[16];
	__u16 source_port;
	__u16 destination_port;
	__u32 padding_too;
};

const struct event *unused_event __attribute__((unused)); // so that bpf2go finds the type

struct endpoint {
	__u8 address[16]; // 0: any
	__u16 port;
};

// The sizes are set before loading.
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32); // inode of a network namespace
	__type(value, __u8);
} namespaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct endpoint);
	__type(value, __u8);
} servers SEC(".maps");

// The segment that this CPU most recently answered with a reset. The kernel drops that segment next
// (tcp_v4_rcv and tcp_v4_do_rcv, and their IPv6 counterparts), which empties the entry.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} answered SEC(".maps");

__u64 lost; // events that found no room

// argument returns the tracepoint's nth argument, a pointer, and hides its type from the verifier.
// Before Linux 6.13 the verifier assumes that such arguments are not NULL, and removes checks for
// NULL (raw_tp_null_args in kernel/bpf/btf.c was added to fix this).
static __always_inline const void *argument(const __u64 *ctx, int n)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), ctx + n);
	return (const void *)value;
}

// inode_of returns 0 if no process has the socket: it was not accepted yet, or was closed. It also
// returns 0 for connection requests and TIME_WAIT sockets, which are only a sock_common.
static __always_inline __u64 inode_of(const struct sock *sk, __u8 state)
{
	const struct socket *socket;
	const struct socket_alloc *alloc;

	if (!sk || state == TCP_TIME_WAIT || state == TCP_NEW_SYN_RECV)
		return 0;
	socket = BPF_CORE_READ(sk, sk_socket);
	if (!socket)
		return 0;
	alloc = (const void *)socket - bpf_core_field_offset(struct socket_alloc, socket);
	return BPF_CORE_READ(alloc, vfs_inode.i_ino);
}

// namespace_of returns 0 if the namespace is unknown or does not matter. In one of TCP's trees a
// segment's device is overwritten, but such a segment has a socket.
static __always_inline __u32 namespace_of(const struct sock *sk, const struct sk_buff *skb)
{
	const struct net_device *dev;

	if (any_namespace)
		return 0;
	if (sk)
		return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	dev = skb ? BPF_CORE_READ(skb, dev) : NULL;
	return dev ? BPF_CORE_READ(dev, nd_net.net, ns.inum) : 0;
}

static __always_inline void put_ipv4(__u8 *to, const void *from)
{
	to[10] = to[11] = 0xff; // the rest is 0
	__builtin_memcpy(to + 12, from, 4);
}

// read_segment reads the headers of a TCP segment into e. It returns false for other packets, for a
// fragment other than the first, and for a segment behind IPv6 extension headers.
static __always_inline bool read_segment(struct event *e, const struct sk_buff *skb)
{
	const unsigned char *header = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	__u8 ip[40], tcp[14]; // an IPv4 header is shorter, but TCP's follows: 40 bytes can be read
	__u32 length;

	if (bpf_probe_read_kernel(ip, sizeof(ip), header))
		return false;
	if (ip[0] >> 4 == 4) { // RFC 791, 3.1
		if (ip[9] != IPPROTO_TCP || (ip[6] & 0x1f) || ip[7])
			return false;
		length = (ip[0] & 0x0f) * 4;
		put_ipv4(e->source, ip + 12);
		put_ipv4(e->destination, ip + 16);
	} else if (ip[0] >> 4 == 6) { // RFC 8200, 3
		if (ip[6] != IPPROTO_TCP)
			return false;
		length = 40;
		__builtin_memcpy(e->source, ip + 8, 16);
		__builtin_memcpy(e->destination, ip + 24, 16);
	} else {
		return false;
	}
	if (bpf_probe_read_kernel(tcp, sizeof(tcp), header + length)) // RFC 9293, 3.1
		return false;
	e->source_port = tcp[0] << 8 | tcp[1];
	e->destination_port = tcp[2] << 8 | tcp[3];
	e->sequence = (__u32)tcp[4] << 24 | tcp[5] << 16 | tcp[6] << 8 | tcp[7];
	e->flags = tcp[13];
	return true;
}

// read_socket copies a socket's two addresses, with the peer's as the source. It takes the local
// port from inet_sock, as skc_num is 0 in a socket that is about to be reset (__inet_put_port).
static __always_inline void read_socket(struct event *e, const struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	__be32 address;

	if (family == AF_INET) {
		address = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		put_ipv4(e->source, &address);
		address = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		put_ipv4(e->destination, &address);
	} else if (family == AF_INET6 && bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		BPF_CORE_READ_INTO(&e->source, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&e->destination, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
	}
	e->source_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	e->destination_port = bpf_ntohs(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
}

static __always_inline bool is_foreign(__u32 namespace)
{
	return namespace && !bpf_map_lookup_elem(&namespaces, &namespace);
}

static __always_inline bool is_server(const __u8 *address, __u16 port)
{
	struct endpoint at = {};

	at.port = port;
	if (bpf_map_lookup_elem(&servers, &at))
		return true;
	__builtin_memcpy(at.address, address, sizeof(at.address));
	return bpf_map_lookup_elem(&servers, &at);
}

static __always_inline bool has_server(const struct event *e)
{
	return is_server(e->destination, e->destination_port) || is_server(e->source, e->source_port);
}

// waking returns the flags for putting an event into the ring. They wake the reader only once the
// ring is half full, or when the trace ends: waking the reader for each event would disturb the
// measurement.
static __always_inline __u64 waking(void)
{
	bool half = 2 * bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= bpf_ringbuf_query(&events, BPF_RB_RING_SIZE);

	return half ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void report(struct event *e, enum kind kind, const struct sock *sk)
{
	e->at = bpf_ktime_get_ns();
	e->kind = kind;
	if (sk) {
		e->state = BPF_CORE_READ(sk, __sk_common.skc_state);
		e->inode = inode_of(sk, e->state);
	}
	e->process = process();
	if (bpf_ringbuf_output(&events, e, sizeof(*e), waking()))
		__sync_fetch_and_add(&lost, 1);
}

SEC("tp_btf/tcp_send_reset") // net/ipv4/tcp_ipv4.c, net/ipv4/tcp_output.c, net/ipv6/tcp_ipv6.c
int reset_sent(__u64 *ctx)
{
	const struct sock *sk = argument(ctx, 0);
	const struct sk_buff *skb = argument(ctx, 1);
	struct event e = {.reason = ctx[2]};
	__u32 namespace = namespace_of(sk, skb), key = 0;
	__u64 *last;

	if (is_foreign(namespace))
		return 0;
	if (!skb)
		read_socket(&e, sk);
	else if (!read_segment(&e, skb))
		return 0;
	if (!namespace && !has_server(&e))
		return 0;
	last = bpf_map_lookup_elem(&answered, &key);
	if (last && skb)
		*last = (__u64)skb;
	report(&e, RESET_SENT, sk);
	return 0;
}

// never_loss reports whether this reason for a drop always means that nothing was lost.
static __always_inline bool never_loss(__u32 reason)
{
	return !reason || // SKB_NOT_DROPPED_YET
	       (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_CONSUMED) &&
		reason == bpf_core_enum_value(enum skb_drop_reason, SKB_CONSUMED));
}

// defers reports whether a listener has TCP_DEFER_ACCEPT.
static __always_inline bool defers(const struct sock *sk)
{
	const struct inet_connection_sock *listener = (const void *)sk;

	return BPF_CORE_READ(listener, icsk_accept_queue.rskq_defer_accept);
}

// no_loss reports whether dropping a segment loses nothing. sk is its receiver or NULL. It runs for
// most connections, so it reads little. For the reasons below the transport header is set.
static __always_inline bool no_loss(const struct sk_buff *skb, const struct sock *sk, __u32 reason)
{
	__u32 no_socket = bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NO_SOCKET);
	__u32 unspecified = bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED);
	__u32 purge = unspecified; // before there was QUEUE_PURGE
	__u8 state = sk ? BPF_CORE_READ(sk, __sk_common.skc_state) : 0;
	__u8 tcp[14]; // RFC 9293, 3.1

	if (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_DROP_REASON_QUEUE_PURGE))
		purge = bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_QUEUE_PURGE);
	if (reason != no_socket && reason != unspecified && reason != purge)
		return false;
	if (bpf_probe_read_kernel(tcp, sizeof(tcp), skb->head + skb->transport_header))
		return false;
	// A RST for a connection that is gone is never answered (RFC 9293, 3.10.7.1).
	if (reason == no_socket)
		return tcp[13] & TCP_RST;
	// Segments received in TIME_WAIT, mostly the peer's FIN, were processed and acknowledged. Bad
	// segments have another reason, or get a reset (tcp_v4_rcv). A SYN may start a new connection.
	if (reason == unspecified && state == TCP_TIME_WAIT)
		return !(tcp[13] & TCP_SYN);
	// With TCP_DEFER_ACCEPT a listener drops the ACK that ends a handshake, and waits for the data
	// that follows it (tcp_check_req in net/ipv4/tcp_minisocks.c).
	if (reason == unspecified && state == TCP_LISTEN)
		return tcp[13] == TCP_ACK && defers(sk);
	// Segments left in the receive queue of a closed socket, mostly the FIN, are freed with the
	// socket (inet_sock_destruct). They were acknowledged; if they had data, a reset was sent.
	return reason == purge && state == TCP_CLOSE &&
	       BPF_CORE_READ((const struct inet_sock *)sk, inet_sport) == bpf_htons(tcp[2] << 8 | tcp[3]);
}

SEC("tp_btf/kfree_skb") // net/core/skbuff.c
int segment_dropped(__u64 *ctx)
{
	const struct sk_buff *skb = (const void *)ctx[0]; // never NULL
	const struct sock *sk = NULL;
	struct event e = {.reason = ctx[2]};
	__u32 namespace, key = 0;
	__u64 *last;

	if (never_loss(e.reason))
		return 0;
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return 0;
	last = bpf_map_lookup_elem(&answered, &key);
	if (last && *last == (__u64)skb) {
		*last = 0;
		return 0; // it was reported
	}
	if (drop_has_receiver)
		sk = argument(ctx, 3);
	if (!sk)
		sk = BPF_CORE_READ(skb, sk);
	if (no_loss(skb, sk, e.reason))
		return 0;
	namespace = namespace_of(sk, skb);
	if (is_foreign(namespace))
		return 0;
	if (!read_segment(&e, skb))
		return 0;
	if (!namespace && !has_server(&e))
		return 0;
	report(&e, SEGMENT_DROPPED, sk);
	return 0;
}

SEC("tp_btf/inet_sock_set_state") // net/ipv4/af_inet.c, inet_sk_set_state and inet_sk_state_store
int listener_closed(__u64 *ctx)
{
	const struct sock *sk;
	struct event e = {};
	__u32 namespace;

	if ((int)ctx[2] != TCP_CLOSE || (int)ctx[1] != TCP_LISTEN)
		return 0;
	sk = argument(ctx, 0);
	namespace = namespace_of(sk, NULL);
	if (is_foreign(namespace))
		return 0;
	read_socket(&e, sk);
	if (!namespace && !has_server(&e))
		return 0;
	report(&e, LISTENER_CLOSED, sk);
	return 0;
}
