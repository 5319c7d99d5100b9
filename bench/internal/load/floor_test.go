package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/wire"
)

// answers serves every request until the listener is closed, and returns the number of connections
// that it has accepted.
func answers(l net.Listener) (connections int) {
	for {
		c, err := l.Accept()
		if err != nil {
			return connections
		}
		connections++
		go func() {
			defer c.Close()
			buf := make([]byte, wire.MaxHead)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				r, _, err := wire.ParseRequest(buf[:n])
				closing := wire.KeepAlive
				if r.Close {
					closing = wire.Close
				}
				_, werr := c.Write(wire.AppendResponse(nil, 3, 4, closing))
				if err != nil || werr != nil || r.Close {
					return
				}
			}
		}()
	}
}

func TestFloor(t *testing.T) {
	const attempts = 200
	for _, tt := range []struct {
		connections vocabulary.Connections
		clients     int // number of clients of a closed loop; 0: an open loop
		least, most int // number of connections; 0: the number of attempts
	}{
		{vocabulary.ConnectionsNew, 0, attempts, attempts},
		{vocabulary.ConnectionsNew, 2, 0, 0},
		{vocabulary.ConnectionsReused, 0, 1, attempts - 1},
		{vocabulary.ConnectionsReused, 1, 1, 1},
	} {
		t.Run(fmt.Sprint(tt.connections, " ", tt.clients), func(t *testing.T) {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			counted := make(chan int, 1)
			go func() { counted <- answers(l) }()
			shape := Shape{
				Pace: vocabulary.PaceConstant, Clients: tt.clients,
				Duration: attempts * time.Second / 2000,
			}
			if tt.clients == 0 {
				shape.Rate = 2000
			}
			f, err := newFloor(Config{
				Processes: 1, Target: netip.MustParseAddrPort(l.Addr().String()),
				Timeout: time.Second, Connections: tt.connections,
				Sources: unusedSources(), Shape: shape,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.run(f.clock.Now()), f.close(), l.Close()); err != nil {
				t.Fatal(err)
			}
			seen := map[uint64]bool{}
			r := results.SampleReader{R: bytes.NewReader(f.samples)}
			for {
				var s results.Sample
				if err := r.Next(&s); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				if !s.Served() || s.Sent < s.Scheduled || s.Done <= s.Sent || s.Worker != 3 ||
					seen[s.Sequence] {
					t.Errorf("attempt %d: %+v", s.Sequence, s)
				}
				seen[s.Sequence] = true
			}
			wanted := attempts
			if tt.clients > 0 { // a closed loop makes as many as the time allows
				wanted = max(tt.clients, len(seen))
			}
			least, most := tt.least, tt.most
			if most == 0 {
				least, most = wanted, wanted
			}
			if n := <-counted; len(seen) != wanted || n < least || n > most {
				t.Errorf("%d attempts on %d connections; want %d on %d to %d",
					len(seen), n, wanted, least, most)
			}
		})
	}
}
