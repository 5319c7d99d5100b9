//go:build ignore

// The programs of a trace. They keep one struct life for each connection that a listener of a
// watched network namespace made, and report it when the connection ends.
//
// The lives are in a hash table with the address of the socket as the key. Socket storage would be
// simpler, but for each socket the kernel would allocate and free two objects. That takes more time
// than the table and all programs together. The programs run for all sockets of the machine, so
// each first tests the state or the namespace.
//
// If an interrupt interrupts a program, the kernel does not run that program in the interrupt
// (__bpf_trace_run in kernel/trace/bpf_trace.c), so the program can miss an event of another
// socket. If it missed a birth, the next program that sees the connection before CLOSE creates the
// life. If it missed a CLOSE, the program destroyed reports the life.

#include <stdbool.h>

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "../kernel/process.h"

// include/net/tcp_states.h
#define TCP_SYN_RECV 3
#define TCP_FIN_WAIT1 4
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LAST_ACK 9
#define TCP_LISTEN 10

#define AF_INET 2         // include/linux/socket.h
#define SEND_SHUTDOWN 2   // include/net/sock.h
#define ETIMEDOUT 110     // include/uapi/asm-generic/errno.h
#define PF_EXITING 4      // include/linux/sched.h
#define SIGNAL_MASK 0x7f  // of exit_code, as wait(2) has it

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// The members of the kernel's structures that are read here. When a program is loaded, it is
// adapted to the running kernel's layout (CO-RE).
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	unsigned long skc_flags;
	__be16 skc_dport;
};

struct socket;

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	unsigned long sk_lingertime;
	int sk_err;
	__u8 sk_shutdown;
};

struct inet_sock {
	__be16 inet_sport;
};

struct inet_bind_bucket { // include/net/inet_hashtables.h
	signed char fastreuse;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct inet_bind_bucket *icsk_bind_hash;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_received;
	__u64 bytes_acked;
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u32 rcv_nxt;
	__u32 copied_seq;
};

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__tcp { // net/ipv4/tcp_ipv4.c
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#pragma clang attribute pop

// include/net/sock.h. Loading the programs replaces these numbers by the running kernel's.
enum sock_flags {
	SOCK_DEAD = 0,   // no process has the socket any more
	SOCK_DONE = 1,   // a FIN was received
	SOCK_LINGER = 4,
};

enum way { // Way; 0: the connection is still there
	CLOSED = 1,
	CLOSED_UNREAD,
	ABORTED,
	SHUT_DOWN,
	RESET_BY_PEER,
	TIMED_OUT,
	LISTENER_CLOSED,
	NOT_ESTABLISHED,
	UNEXPLAINED,
};

enum flag {
	ACCEPTED = 1,    // a process has or had the connection
	PEER_CLOSED = 2, // the client's FIN arrived
	EXITING = 4,     // the closer was exiting
	RESET_LATER = 8, // it was reset after the server had closed it or shut it down
	ORPHANED = 16,   // no process had the socket when it reached CLOSE
	EARLIER = 32,    // the connection is older than the trace, and not reported
};

// IPv4 addresses are mapped to IPv6 (RFC 4291, 2.5.5.2). Instants are readings of CLOCK_MONOTONIC,
// in ns; 0 means that the event did not happen.
struct life {
	__u64 cookie;
	__u64 born;
	__u64 first_read;
	__u64 closed; // by a process
	__u64 ended;  // reached CLOSE
	__u64 received;
	__u64 sent;
	__u64 acknowledged;
	__u32 unread;
	__u32 reader; // PID of the process that read first
	__u32 closer;
	__u16 client_port;
	__u16 server_port;
	__u8 way;
	__u8 signal; // the signal that killed the closer
	__u8 state;  // the last state before CLOSE, or the current state
	__u8 flags;
	__u32 padding;
	__u8 client[16];
	__u8 server[16];
};

const struct life *unused_life __attribute__((unused)); // so that bpf2go finds the type

// The sizes of both are set before loading.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64); // address of the socket
	__type(value, struct life);
} lives SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32); // inode of a network namespace
	__type(value, __u8);
} networks SEC(".maps");

__u32 network; // inode of the watched network namespace; 0: none yet, or several
// Set before loading if there are several watched network namespaces, which are in networks.
const volatile bool several;
__u64 births;      // connections that watched listeners made
__u64 lost;        // connections that found no room in the table or in the ring
__u64 ports[1024]; // a bit for each port on which a connection arrived

// is_watched reports whether the socket is in a watched network namespace.
static __always_inline bool is_watched(const struct sock *sk)
{
	__u32 net = sk->__sk_common.skc_net.net->ns.inum;

	return several ? bpf_map_lookup_elem(&networks, &net) != NULL : net == network;
}

static __always_inline __u16 port_of(const struct tcp_sock *tp)
{
	// skc_num is already 0 if the port was released (__inet_put_port).
	return bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
}

// server_end returns the socket if it may be the server's end of a watched connection, or NULL.
static __always_inline const struct tcp_sock *server_end(const struct sock *sk)
{
	const struct tcp_sock *tp;
	__u16 port;

	if (!is_watched(sk))
		return NULL;
	tp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tp)
		return NULL;
	port = port_of(tp);
	return ports[port / 64] >> port % 64 & 1 ? tp : NULL;
}

static __always_inline struct life *life_of(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	return bpf_map_lookup_elem(&lives, &key);
}

static __always_inline bool has_flag(const struct sock *sk, int flag)
{
	return sk->__sk_common.skc_flags >> flag & 1;
}

// is_held reports whether a process has the socket. The barrier keeps the compiler from doing
// arithmetic with the pointer, which the verifier forbids.
static __always_inline bool is_held(const struct sock *sk)
{
	bool held = sk->sk_socket != NULL;

	asm volatile("" : "+r"(held));
	return held;
}

#define flag_of(name) bpf_core_enum_value(enum sock_flags, name)

// close_now records that the current process closes the connection, and in which way.
static __always_inline void close_now(struct life *l, enum way way)
{
	const struct task_struct *task = bpf_get_current_task_btf();

	l->way = way;
	l->closed = bpf_ktime_get_ns();
	l->closer = process();
	if (task->flags & PF_EXITING) {
		l->flags |= EXITING;
		l->signal = task->exit_code & SIGNAL_MASK;
	}
}

// count records the numbers of bytes. A FIN takes one sequence number, as a byte does (RFC 9293,
// 3.4), and comes last.
static __always_inline void count(struct life *l, const struct sock *sk, const struct tcp_sock *tp)
{
	bool done = has_flag(sk, flag_of(SOCK_DONE));
	__u32 unread = tp->rcv_nxt - tp->copied_seq;
	__u64 acknowledged = tp->bytes_acked;

	if (done)
		l->flags |= PEER_CLOSED;
	l->received = tp->bytes_received - done;
	l->unread = unread && done ? unread - 1 : unread;
	l->sent = tp->bytes_sent - tp->bytes_retrans;
	l->acknowledged = acknowledged < l->sent ? acknowledged : l->sent;
}

static __always_inline void put_ipv4(__u8 *to, __be32 address)
{
	to[10] = to[11] = 0xff; // the rest is 0
	__builtin_memcpy(to + 12, &address, 4);
}

static __always_inline void put_ends(struct life *l, const struct sock *sk,
				     const struct tcp_sock *tp)
{
	if (sk->__sk_common.skc_family == AF_INET) {
		put_ipv4(l->client, sk->__sk_common.skc_daddr);
		put_ipv4(l->server, sk->__sk_common.skc_rcv_saddr);
	} else if (bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		BPF_CORE_READ_INTO(&l->client, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&l->server, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
	}
	l->client_port = bpf_ntohs(sk->__sk_common.skc_dport);
	l->server_port = port_of(tp);
}

// is_passive reports whether a process has bound the socket's port. If so, a listener made the
// socket, or the client chose its port itself. If the kernel chose the port of a client, fastreuse
// is negative (__inet_hash_connect in net/ipv4/inet_hashtables.c).
static __always_inline bool is_passive(const struct tcp_sock *tp)
{
	const struct inet_bind_bucket *bucket = tp->inet_conn.icsk_bind_hash;

	return bucket && bucket->fastreuse >= 0;
}

// born creates the life of a new connection.
static __always_inline void born(struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct life l = {.born = bpf_ktime_get_ns(), .cookie = bpf_get_socket_cookie(sk)};

	__sync_fetch_and_add(&births, 1);
	if (bpf_map_update_elem(&lives, &key, &l, BPF_ANY))
		__sync_fetch_and_add(&lost, 1);
}

// life_or_birth returns the life of a connection that has not reached CLOSE. It creates the life if
// the birth was missed. At CLOSE the kernel has released the port, so is_passive cannot tell then.
static __always_inline struct life *life_or_birth(struct sock *sk, const struct tcp_sock *tp)
{
	struct life *l = life_of(sk);

	if (l || !is_passive(tp))
		return l;
	born(sk);
	return life_of(sk);
}

// closes records that a connection reaches CLOSE.
static __always_inline void closes(struct life *l, const struct sock *sk,
				   const struct tcp_sock *tp, int state)
{
	bool held = is_held(sk), dead = has_flag(sk, flag_of(SOCK_DEAD));

	l->ended = bpf_ktime_get_ns();
	l->state = state;
	if (held)
		l->flags |= ACCEPTED;
	else if (dead)
		l->flags |= ORPHANED;
	put_ends(l, sk, tp);
	count(l, sk, tp);
	if (state == TCP_SYN_RECV) {
		l->way = NOT_ESTABLISHED;
	} else if (sk->sk_err) { // tcp_reset, tcp_write_err
		if (l->closed)
			l->flags |= RESET_LATER;
		else
			l->way = sk->sk_err == ETIMEDOUT ? TIMED_OUT : RESET_BY_PEER;
	} else if (!held && !dead) { // inet_child_forget in net/ipv4/inet_connection_sock.c
		close_now(l, LISTENER_CLOSED);
	} else if (held && l->unread && !(l->closed && l->flags & PEER_CLOSED)) { // __tcp_close
		close_now(l, CLOSED_UNREAD);
	} else if (held && has_flag(sk, flag_of(SOCK_LINGER)) && !sk->sk_lingertime && !l->closed) {
		close_now(l, ABORTED);
	} else if (!l->closed) {
		l->way = dead ? CLOSED : UNEXPLAINED; // the FIN was missed
	} else if (held && l->way == CLOSED) { // after close(2) no process would have it
		l->way = SHUT_DOWN;
	}
}

// waking returns the flags for putting an end into the ring. They wake the reader only once the
// ring is half full, because waking it would disturb what is measured.
static __always_inline __u64 waking(void)
{
	bool half = 2 * bpf_ringbuf_query(&ends, BPF_RB_AVAIL_DATA) >=
		    bpf_ringbuf_query(&ends, BPF_RB_RING_SIZE);

	return half ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

// report reports a life, and deletes it.
static __always_inline void report(const struct life *l, const struct sock *sk)
{
	__u64 key = (__u64)sk;

	if (!(l->flags & EARLIER) && bpf_ringbuf_output(&ends, (void *)l, sizeof(*l), waking()))
		__sync_fetch_and_add(&lost, 1);
	bpf_map_delete_elem(&lives, &key);
}

SEC("tp_btf/inet_sock_set_state") // net/ipv4/af_inet.c, inet_sk_set_state and inet_sk_state_store
int state_changed(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0]; // never NULL
	int old = ctx[1], new = ctx[2];
	const struct tcp_sock *tp;
	struct life *l;
	__u16 port;

	// A new connection: inet_csk_clone_lock in net/ipv4/inet_connection_sock.c
	if (new == TCP_SYN_RECV && old == TCP_LISTEN) {
		if (!is_watched(sk))
			return 0;
		tp = bpf_skc_to_tcp_sock(sk);
		if (!tp)
			return 0;
		port = port_of(tp);
		if (!(ports[port / 64] >> port % 64 & 1))
			__sync_fetch_and_or(&ports[port / 64], 1ull << port % 64);
		born(sk);
		return 0;
	}
	if (new != TCP_FIN_WAIT1 && new != TCP_LAST_ACK && new != TCP_CLOSE)
		return 0;
	// A listener. One of MPTCP goes to CLOSE twice (mptcp_check_listen_stop and __mptcp_close in
	// net/mptcp/protocol.c).
	if (new == TCP_CLOSE && (old == TCP_LISTEN || old == TCP_CLOSE))
		return 0;
	tp = server_end(sk);
	if (!tp)
		return 0;
	l = new == TCP_CLOSE ? life_of(sk) : life_or_birth(sk, tp);
	if (!l)
		return 0;
	if (new == TCP_CLOSE) {
		closes(l, sk, tp, old);
		if (has_flag(sk, flag_of(SOCK_DEAD))) // tcp_done destroys the socket next
			report(l, sk);
		return 0;
	}
	if (is_held(sk)) // tcp_close_state in net/ipv4/tcp.c; and tcp_shutdown
		l->flags |= ACCEPTED;
	close_now(l, sk->sk_shutdown == SEND_SHUTDOWN ? SHUT_DOWN : CLOSED);
	return 0;
}

SEC("tp_btf/tcp_rcv_space_adjust") // net/ipv4/tcp_input.c; after data were copied to a process
int data_read(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0]; // never NULL
	const struct tcp_sock *tp;
	struct life *l;

	tp = server_end(sk);
	if (!tp)
		return 0;
	l = sk->__sk_common.skc_state == TCP_CLOSE ? life_of(sk) : life_or_birth(sk, tp);
	if (!l || l->first_read || tp->bytes_received == tp->rcv_nxt - tp->copied_seq)
		return 0; // MSG_PEEK
	l->first_read = bpf_ktime_get_ns();
	l->reader = process();
	l->flags |= ACCEPTED;
	return 0;
}

SEC("tp_btf/tcp_destroy_sock") // net/ipv4/tcp_ipv4.c, tcp_v4_destroy_sock
int destroyed(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0]; // never NULL
	const struct tcp_sock *tp;
	struct life *l;

	tp = server_end(sk);
	if (!tp)
		return 0;
	l = life_of(sk);
	if (!l)
		return 0;
	if (!l->ended) // CLOSE was missed, and with it the state before
		closes(l, sk, tp, 0);
	// If the peer's port is 0, tcp_disconnect has cleared the socket. The kernel calls that
	// function for SO_LINGER 0 and when a listener is closed.
	if (sk->__sk_common.skc_dport) {
		count(l, sk, tp);
		if (!(l->flags & ORPHANED)) { // it came to CLOSE before it was closed
			l->flags |= ACCEPTED;
			if (!l->closed)
				close_now(l, l->way);
		}
	}
	report(l, sk);
	return 0;
}

// mark_earlier creates a life for each connection that existed before the trace.
SEC("iter/tcp")
int mark_earlier(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct life l = {.flags = EARLIER};
	struct tcp_sock *tp;
	__u64 key;

	if (!common || common->skc_state == TCP_LISTEN)
		return 0;
	tp = bpf_skc_to_tcp_sock(common);
	if (!tp || !is_passive(tp))
		return 0;
	key = (__u64)tp;
	bpf_map_update_elem(&lives, &key, &l, BPF_NOEXIST);
	return 0;
}

// write_lives writes the life of each connection that has not reached CLOSE.
SEC("iter/tcp")
int write_lives(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	const struct tcp_sock *tp;
	const struct life *l;
	struct life now;
	struct sock *sk;

	if (!common || common->skc_state == TCP_LISTEN)
		return 0;
	tp = bpf_skc_to_tcp_sock(common);
	if (!tp)
		return 0;
	sk = (struct sock *)tp;
	l = life_of(sk);
	if (!l || l->flags & EARLIER || l->ended)
		return 0;
	__builtin_memcpy(&now, l, sizeof(now));
	now.state = sk->__sk_common.skc_state;
	if (is_held(sk))
		now.flags |= ACCEPTED;
	put_ends(&now, sk, tp);
	count(&now, sk, tp);
	bpf_seq_write(ctx->meta->seq, &now, sizeof(now));
	return 0;
}
