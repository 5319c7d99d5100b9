//go:build ignore

// The programs of package selector. Each runs once for every segment that belongs to no connection,
// and chooses which listener of the group gets the segment. doc.go describes the state that the
// programs share and the choices that they make.
//
// Helper calls dominate the cost, so there are only two: bpf_sk_select_reuseport, which every
// selection needs, and the coarse clock in least_loaded. The shared state is a global variable,
// which the program addresses directly. A random number is a hash of the selection's number.

#include <stdbool.h>

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define MAX_SLOTS 1024 // MaxSlots in Go; a power of two
#define TRIES 8        // sockets to try before the kernel's hash chooses
#define DRAWS 4        // tries that weighted draws; later ones take the next in the list
#define LOOK 16        // maximum number of workers that least_loaded compares
#define SAMPLE 8       // number drawn at random if there are more than LOOK workers
#define AVOID (1ULL << 62)
#define NONE (~0U)

#define ONCE(x) (*(volatile typeof(x) *)&(x))
// The compiler knows that an index is in range and would omit the mask, but the verifier does not
// know it. The asm hides the range from the compiler, so that the mask stays.
#define INDEX(i) ({ __u32 _i = (i); asm volatile("" : "+r"(_i)); _i & (MAX_SLOTS - 1); })

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// Set once before loading, so that the verifier folds them into the code.
const volatile __u64 seed;
const volatile __s64 stuck_ns;
const volatile __s64 queue_limit;

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, MAX_SLOTS); // the real size is set before loading
	__type(key, __u32);
	__type(value, __u64); // a descriptor when written, a socket cookie when read
} sockets SEC(".maps");

// list has the slots that may be chosen. The parent never changes the list in use: it writes the
// other one and then switches shared.current.
struct list {
	__u32 count;
	__u32 total; // sum of the weights
	__u32 slot[MAX_SLOTS];
	__u32 upto[MAX_SLOTS]; // sum of the weights up to and including this one
};

// slot is one worker. It has two cache lines because two processors write it.
struct slot {
	// Written by the program. assigned only grows, whichever worker holds the slot.
	__u64 assigned;      // connections
	__u64 last;          // number of the selection that last assigned one, from 1; 0: none
	__u64 waiting_since; // when the queue last became non-empty, CLOCK_MONOTONIC ns
	// Written by the worker. accepted only grows.
	__u64 accepted __attribute__((aligned(64))); // connections
	__s64 written_off; // part of assigned - accepted that is known not to wait
	__s64 in_flight;   // what the worker counts as load
	__u64 turn;        // when its loop last turned, CLOCK_MONOTONIC ns
} __attribute__((aligned(64)));

struct state {
	// Written by the parent.
	__u64 decay_ns;
	__u64 beat_ns;
	__u32 current; // list in use
	// Written by the programs.
	// ticket counts selections, and tries that found no socket.
	__u64 ticket __attribute__((aligned(64)));
	__u64 nobody __attribute__((aligned(64)));
	__u64 gone;
	__u64 overloaded;
	__u64 stale;
	__u64 strays;
	struct list lists[2] __attribute__((aligned(64)));
	struct slot slots[MAX_SLOTS];
};

struct state shared;

// opens returns whether the segment opens a connection: SYN without ACK (RFC 9293, 3.1: the flags
// are in byte 13). Other segments that arrive here belong to no connection and are answered with a
// RST, or are the ACK to a SYN cookie. They get a listener, but take no turn and are not counted.
static __always_inline bool opens(struct sk_reuseport_md *md)
{
	const __u8 *header = md->data;

	if ((void *)(header + 14) > md->data_end || (header[13] & 0x12) == 0x02)
		return true;
	__sync_fetch_and_add(&shared.strays, 1);
	return false;
}

static __always_inline __u64 draw(bool opening, __u32 try)
{
	return opening ? __sync_fetch_and_add(&shared.ticket, 1) : ONCE(shared.ticket) + try;
}

// mix returns a random number for a ticket: splitmix64 (Steele, Lea, Flood: Fast splittable
// pseudorandom number generators, OOPSLA 2014).
static __always_inline __u64 mix(__u64 ticket)
{
	__u64 z = seed + ticket * 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

// give selects the listener in a slot. It fails if there is none: its worker has died or left, and
// the parent has not yet taken the slot off the list.
static __always_inline bool give(struct sk_reuseport_md *md, __u32 slot)
{
	if (bpf_sk_select_reuseport(md, &sockets, &slot, 0) == 0)
		return true;
	__sync_fetch_and_add(&shared.stale, 1);
	return false;
}

static __always_inline void assign(__u32 slot)
{
	__sync_fetch_and_add(&shared.slots[INDEX(slot)].assigned, 1);
}

// leave makes no selection. The kernel's hash then chooses among all listeners
// (reuseport_select_sock in net/core/sock_reuseport.c).
static __always_inline int leave(bool opening, __u64 *reason)
{
	if (opening)
		__sync_fetch_and_add(reason, 1);
	return SK_PASS;
}

// empty makes no selection. The kernel's cost of running it is part of the cost of every program.
SEC("sk_reuseport")
int empty(struct sk_reuseport_md *md)
{
	(void)md;
	return SK_PASS;
}

// round_robin draws the next ticket if a slot has no socket. So the turns of dead workers are
// shared evenly by the others and do not all go to the next one in the list.
SEC("sk_reuseport")
int round_robin(struct sk_reuseport_md *md)
{
	const struct list *l = &shared.lists[ONCE(shared.current) & 1];
	__u32 count = ONCE(l->count);
	bool opening = opens(md);

	if (count == 0)
		return leave(opening, &shared.nobody);
	for (__u32 try = 0; try < TRIES; try++) {
		// A 32-bit division takes half the time. Its wrap disturbs one round in 2^32 selections.
		__u32 slot = ONCE(l->slot[INDEX((__u32)draw(opening, try) % count)]);

		if (!give(md, slot))
			continue;
		if (opening)
			assign(slot);
		return SK_PASS;
	}
	return leave(opening, &shared.gone);
}

// by_hash spreads connections as the kernel's own hash does (reciprocal_scale in
// reuseport_select_sock_by_hash), but only over the listed slots. So new connections go to the new
// workers while the old ones empty their queues.
SEC("sk_reuseport")
int by_hash(struct sk_reuseport_md *md)
{
	const struct list *l = &shared.lists[ONCE(shared.current) & 1];
	__u32 count = ONCE(l->count), position;
	bool opening = opens(md);

	if (count == 0)
		return leave(opening, &shared.nobody);
	position = (__u64)md->hash * count >> 32;
	for (__u32 try = 0; try < TRIES; try++) {
		__u32 slot = ONCE(l->slot[INDEX(position)]);

		if (give(md, slot)) {
			if (opening)
				assign(slot);
			return SK_PASS;
		}
		if (++position >= count)
			position = 0;
	}
	return leave(opening, &shared.gone);
}

// find returns the first position, from low on, whose sum of weights is above at. low is always 0,
// but the verifier must not know that, or it would follow each of the 2^10 paths of the search. The
// function is not static so that the verifier checks it once, not at every call.
__noinline __u32 find(__u32 current, __u32 low, __u32 at)
{
	const struct list *l = &shared.lists[current & 1];
	__u32 high = ONCE(l->count) - 1;

	for (__u32 step = 0; step < 10 && low < high; step++) {
		__u32 middle = (low + high) / 2;

		if (ONCE(l->upto[INDEX(middle)]) > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

SEC("sk_reuseport")
int weighted(struct sk_reuseport_md *md)
{
	__u32 current = ONCE(shared.current) & 1, position = 0;
	const struct list *l = &shared.lists[current];
	__u32 count = ONCE(l->count), total = ONCE(l->total);
	bool opening = opens(md);

	if (count == 0)
		return leave(opening, &shared.nobody);
	for (__u32 try = 0; try < TRIES; try++) {
		__u32 slot;

		if (try < DRAWS) // 44 random bits × a total of at most 2^20 (MaxSlots × MaxWeight)
			position = find(current, 0, (mix(draw(opening, try)) >> 20) * total >> 44);
		else if (++position >= count)
			position = 0;
		slot = ONCE(l->slot[INDEX(position)]);
		if (!give(md, slot))
			continue;
		if (opening)
			assign(slot);
		return SK_PASS;
	}
	return leave(opening, &shared.gone);
}

// waiting returns the estimated number of connections assigned and not yet accepted. It is negative
// if the worker accepted connections that were not assigned to it, such as migrated ones.
static __always_inline __s64 waiting(const struct slot *s)
{
	return ONCE(s->assigned) - ONCE(s->accepted) - ONCE(s->written_off);
}

// rank returns a worker's load, plus AVOID if the worker is to be avoided. It has no branches: the
// verifier would follow all their combinations for sixteen workers. The sign of a difference gives
// the result of a comparison.
static __always_inline __u64 rank(const struct slot *s, __u64 now)
{
	__s64 queued = waiting(s), full, stuck;

	queued &= ~(queued >> 63); // at least 0
	full = queue_limit - 1 - queued;
	// Negative if something waits and, for too long, the loop has not turned and the queue has not
	// been empty.
	stuck = (stuck_ns - (__s64)(now - ONCE(s->turn))) &
		(stuck_ns - (__s64)(now - ONCE(s->waiting_since))) & -queued;
	return ((__u64)(full | stuck) >> 63) * AVOID + ONCE(s->in_flight) + queued;
}

// least returns the position of the best worker, or NONE. The top bit is set if the worker is to be
// avoided. It skips the positions in tried. Among equals it prefers the worker that has waited
// longest for a connection. It is not static, for the same reason as find.
__noinline __u32 least(__u32 current, __u32 tried, __u64 random, __u64 now)
{
	const struct list *l = &shared.lists[current & 1];
	__u32 count = ONCE(l->count), best = NONE;
	__u64 lowest = ~0ULL, oldest = ~0ULL;

	for (__u32 i = 0; i < LOOK; i++) {
		const struct slot *s;
		__u32 position = i;
		__u64 r, last;

		if (count > LOOK) {
			if (i >= SAMPLE && !(lowest & AVOID))
				break; // found a good one; otherwise draw as many again
			// MMIX's generator
			random = random * 6364136223846793005ULL + 1442695040888963407ULL;
			position = (random >> 32) * count >> 32;
		} else if (i >= count) {
			break;
		} else if (tried >> i & 1) {
			continue;
		}
		s = &shared.slots[INDEX(ONCE(l->slot[INDEX(position)]))];
		r = rank(s, now);
		last = ONCE(s->last);
		if (r < lowest || (r == lowest && last < oldest)) {
			best = position;
			lowest = r;
			oldest = last;
		}
	}
	if (best != NONE && lowest & AVOID)
		best |= 1U << 31;
	return best;
}

SEC("sk_reuseport")
int least_loaded(struct sk_reuseport_md *md)
{
	__u32 current = ONCE(shared.current) & 1, tried = 0;
	const struct list *l = &shared.lists[current];
	bool opening = opens(md);
	__u64 now;

	if (ONCE(l->count) == 0)
		return leave(opening, &shared.nobody);
	now = bpf_ktime_get_coarse_ns(); // CLOCK_MONOTONIC as of the last tick
	for (__u32 try = 0; try < TRIES; try++) {
		__u64 ticket = draw(opening, try);
		__u32 best = least(current, tried, mix(ticket), now), slot;
		struct slot *s;

		if (best == NONE)
			break;
		slot = ONCE(l->slot[INDEX(best)]);
		if (!give(md, slot)) {
			tried |= 1U << (best & 31);
			continue;
		}
		if (!opening)
			return SK_PASS;
		if (best >> 31)
			__sync_fetch_and_add(&shared.overloaded, 1);
		s = &shared.slots[INDEX(slot)];
		if (waiting(s) <= 0)
			ONCE(s->waiting_since) = now;
		ONCE(s->last) = ticket + 1;
		assign(slot);
		return SK_PASS;
	}
	return leave(opening, &shared.gone);
}
