package kernel

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// Counters holds the protocol counters of one network namespace, named as by nstat(8): the protocol
// followed by the counter, such as "TcpOutRsts", "TcpExtListenDrops" or "MPTcpExtMPCapableSYNRX". A
// counter that the kernel lacks is absent. The two-value form of the index tells "did not happen"
// from "cannot be known".
//
// The counters that this program relies on, with the kernel's functions that increment them (in
// net/ipv4 unless noted):
//
//	TcpActiveOpens              connect() sent a first SYN
//	                            tcp_output.c: tcp_connect
//	TcpPassiveOpens             a handshake made a child socket
//	                            tcp_minisocks.c: tcp_create_openreq_child
//	TcpAttemptFails             a handshake ended in CLOSE, on either side
//	                            tcp.c: tcp_done; tcp_minisocks.c: tcp_check_req
//	TcpEstabResets              ESTABLISHED or CLOSE_WAIT went straight to CLOSE
//	                            tcp.c: tcp_set_state
//	TcpCurrEstab                sockets in ESTABLISHED or CLOSE_WAIT now (a gauge)
//	                            tcp.c: tcp_set_state
//	TcpOutRsts                  RST sent, in answer to a segment or unprompted
//	                            tcp_ipv4.c: tcp_v4_send_reset; tcp_output.c: tcp_send_active_reset
//	TcpRetransSegs              segments sent again, including SYN and SYN-ACK
//	                            tcp_output.c: __tcp_retransmit_skb, tcp_rtx_synack
//	TcpExtTCPSynRetrans         SYN and SYN-ACK among them
//	                            tcp_output.c: __tcp_retransmit_skb, tcp_rtx_synack
//	TcpExtListenOverflows       SYN or last ACK refused by a full accept queue
//	                            tcp_input.c: tcp_conn_request; tcp_ipv4.c: tcp_v4_syn_recv_sock
//	TcpExtListenDrops           the same, and handshakes refused for other reasons
//	                            include/net/tcp.h: tcp_listendrop
//	TcpExtTCPReqQFullDrop       SYN refused by a full SYN queue, without cookies
//	                            tcp_input.c: tcp_syn_flood_action
//	TcpExtTCPReqQFullDoCookies  SYN answered with a cookie because the SYN queue was full
//	                            tcp_input.c: tcp_syn_flood_action
//	TcpExtEmbryonicRsts         RST received by a half-open connection
//	                            tcp_minisocks.c: tcp_check_req
//	TcpExtTCPMigrateReqSuccess  queued or half-open connection moved to another socket of its
//	                            reuseport group
//	                            inet_connection_sock.c: inet_csk_listen_stop,
//	                            reqsk_timer_handler, inet_csk_complete_hashdance
//	TcpExtTCPMigrateReqFailure  connection that should have moved and could not
//	                            the same; inet_reqsk_clone; tcp_minisocks.c: tcp_check_req
//	TcpExtTCPAbortOnClose       close() with unread data in the receive queue
//	                            tcp.c: __tcp_close
//	TcpExtTCPAbortOnData        close() with SO_LINGER 0; data arriving after it
//	                            tcp.c: __tcp_close; tcp_input.c: tcp_rcv_state_process
//	TcpExtTCPBacklogDrop        segment dropped because its socket's backlog was full
//	                            tcp_ipv4.c: tcp_add_backlog
//	TcpExtTW                    sockets that entered TIME_WAIT, or FIN_WAIT_2 without an owner;
//	                            under 4 s counts as TWKilled
//	                            inet_timewait_sock.c: __inet_twsk_schedule
//	TcpExtTWRecycled            TIME_WAIT ended early by a new connect()
//	                            inet_hashtables.c: __inet_check_established
//	TcpExtTCPTimeWaitOverflow   TIME_WAIT skipped because the table was full
//	                            tcp_minisocks.c: tcp_time_wait
//
// Closing a listener moves only TcpOutRsts and TcpEstabResets. ListenDrops and TCPAbortOnClose do
// not count the connections that waited in its queue. On loopback both ends of a connection are in
// the namespace, and EstabResets counts each of them.
type Counters map[string]int64

// Add adds each counter of other to c.
func (c Counters) Add(other Counters) {
	for name, n := range other {
		c[name] += n
	}
}

// CountersIn reads the counters of the network namespace in which do runs its argument.
func CountersIn(do func(func() error) error) (c Counters, err error) {
	err = do(func() error {
		c, err = ReadCounters("/proc/thread-self/net")
		return err
	})
	return c, err
}

// ReadCounters reads procNet/snmp and procNet/netstat. procNet is the net directory of a process in
// the namespace of interest, such as "/proc/1234/net". On a thread that has changed its namespace,
// use "/proc/thread-self/net": "/proc/net" and "/proc/self/net" are the main thread's.
//
// ReadCounters reads the two files one after the other, and the kernel sums per-CPU counters that
// keep changing. So while traffic flows, counters that should be equal can differ by a few.
func ReadCounters(procNet string) (Counters, error) {
	counters := make(Counters)
	for _, name := range []string{"snmp", "netstat"} {
		if err := readCounterFile(counters, filepath.Join(procNet, name)); err != nil {
			return nil, err
		}
	}
	return counters, nil
}

func readCounterFile(counters Counters, path string) error {
	file, err := openProc(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := parseCounters(counters, file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Since returns the increase of each counter from before to after. If a counter is missing from
// before, Since takes its value there as 0, because the kernel prints some counters (IcmpMsg) only
// once they are not 0. A counter missing from after is missing from the result. For the few gauges
// (TcpCurrEstab, MPTcpExtMPCurrEstab) the result is the change, which may be negative.
func (after Counters) Since(before Counters) Counters {
	moved := make(Counters, len(after))
	for name, value := range after {
		moved[name] = value - before[name]
	}
	return moved
}

// maxCounterLine is the maximum length of a line, in bytes. On Linux 6.18 the longest line, of
// TcpExt, has about 3 kB.
const maxCounterLine = 256 << 10

// parseCounters adds the counters in r to counters. r holds pairs of lines, first the names and
// then the values, both of which start with the protocol ("Tcp: InSegs OutSegs", "Tcp: 10 12").
// Format: net/ipv4/proc.c, snmp_seq_show and netstat_seq_show.
func parseCounters(counters Counters, r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxCounterLine)
	for n := 1; lines.Scan(); n += 2 {
		names := strings.Fields(lines.Text())
		if !lines.Scan() {
			break
		}
		values := strings.Fields(lines.Text())
		if err := addPair(counters, names, values); err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if len(counters) == 0 {
		return fmt.Errorf("no counters: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

func addPair(counters Counters, names, values []string) error {
	if len(names) == 0 || len(names) != len(values) || names[0] != values[0] {
		return fmt.Errorf("%d names followed by %d values", len(names), len(values))
	}
	protocol, found := strings.CutSuffix(names[0], ":")
	if !found {
		return fmt.Errorf("%q is not the name of a protocol", names[0])
	}
	for i, name := range names[1:] {
		value, err := strconv.ParseInt(values[i+1], 10, 64)
		if err != nil {
			return fmt.Errorf("%s%s: %w", protocol, name, err)
		}
		counters[protocol+name] = value
	}
	return nil
}
