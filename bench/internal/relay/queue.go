package relay

import "reuseport-bench/servers/clock"

// maxPacket is larger than any packet, in bytes. The devices' MTU is 1500 bytes.
const maxPacket = 2048

// A packet is a network packet that a queue holds until it is due.
type packet struct {
	due  clock.Instant
	data []byte // with a capacity of maxPacket
}

// A queue holds packets, first in, first out. It grows when it is full, never shrinks, and reuses
// its memory.
type queue struct {
	ring []packet
	head int // index of the first packet
	n    int // number of packets
}

// next returns the next free packet, for the caller to fill in. add then puts it into the queue.
func (q *queue) next() *packet {
	if q.n == len(q.ring) {
		q.grow()
	}
	p := &q.ring[(q.head+q.n)%len(q.ring)]
	if p.data == nil {
		p.data = make([]byte, maxPacket)
	}
	return p
}

// add puts the packet that next returned at the end of the queue.
func (q *queue) add() { q.n++ }

// first returns the oldest packet. The queue must not be empty.
func (q *queue) first() *packet { return &q.ring[q.head] }

// drop removes the first packet from the queue.
func (q *queue) drop() {
	q.head = (q.head + 1) % len(q.ring)
	q.n--
}

// grow doubles the size of a full queue.
func (q *queue) grow() {
	ring := make([]packet, max(64, 2*len(q.ring)))
	n := copy(ring, q.ring[q.head:])
	copy(ring[n:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}
