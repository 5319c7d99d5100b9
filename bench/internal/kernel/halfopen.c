//go:build ignore

// The program of HalfOpenReader. The kernel runs it for every TCP socket of a network namespace.
// For each connection request it writes the inode of the request's listener.

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define TCP_NEW_SYN_RECV 12 // include/net/tcp_states.h

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// The members of the kernel's structures that are read here. When a program is loaded, it is
// adapted to the running kernel's layout (CO-RE).
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct socket {};

struct inode {
	unsigned long i_ino;
};

struct socket_alloc { // include/net/sock.h
	struct socket socket;
	struct inode vfs_inode;
};

struct sock {
	struct socket *sk_socket;
};

struct sock_common {
	volatile unsigned char skc_state;
	struct sock *skc_listener; // in a union; valid for a connection request only
};

struct request_sock { // include/net/request_sock.h: rsk_listener is __req_common.skc_listener
	struct sock_common __req_common;
};

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__tcp { // net/ipv4/tcp_ipv4.c
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#pragma clang attribute pop

// inode_of returns 0 if the socket is gone. The inode is not freed while the program runs: it is an
// RCU reader (bpf_iter_run_prog), and sockets' inodes are freed by RCU (sock_free_inode).
static __always_inline __u64 inode_of(const struct socket *socket)
{
	const struct socket_alloc *alloc;

	if (!socket)
		return 0;
	alloc = (const void *)socket - bpf_core_field_offset(struct socket_alloc, socket);
	return BPF_CORE_READ(alloc, vfs_inode.i_ino);
}

SEC("iter/tcp")
int half_open(struct bpf_iter__tcp *ctx)
{
	const struct sock_common *sk = ctx->sk_common;
	__u64 inode;

	if (!sk || sk->skc_state != TCP_NEW_SYN_RECV) // the last call is without a socket
		return 0;
	inode = inode_of(BPF_CORE_READ((const struct request_sock *)sk, __req_common.skc_listener, sk_socket));
	// If inode does not fit, the kernel runs this again with the same socket (bpf_seq_read).
	bpf_seq_write(ctx->meta->seq, &inode, sizeof(inode));
	return 0;
}
