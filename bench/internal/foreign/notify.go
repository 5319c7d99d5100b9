package foreign

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
)

// A notifier receives the messages that the server sends by sd_notify(3).
type notifier struct {
	conn *net.UnixConn
	done chan struct{}

	mu    sync.Mutex
	ready int // number of READY=1 messages
	main  int // the last value of MAINPID; 0: none
	said  string
}

// newNotifier makes the notification socket in the home. The caller closes it.
func (h *home) newNotifier() (*notifier, error) {
	path := h.path(notifySocket)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	// Any user may write to it. The server does not run yet, so nothing else can be at the path.
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	n := &notifier{conn: conn, done: make(chan struct{})}
	go n.read()
	return n, nil
}

func (n *notifier) read() {
	defer close(n.done)
	buffer := make([]byte, 4096)
	for {
		size, err := n.conn.Read(buffer)
		if err != nil {
			return
		}
		n.mu.Lock()
		for line := range strings.Lines(string(buffer[:size])) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch name {
			case "READY":
				if value == "1" {
					n.ready++
				}
			case "MAINPID":
				n.main, _ = strconv.Atoi(value)
			case "STATUS":
				n.said = value
			}
		}
		n.mu.Unlock()
	}
}

func (n *notifier) readies() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready
}

func (n *notifier) mainPID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.main
}

// status returns the last value of STATUS.
func (n *notifier) status() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.said
}

func (n *notifier) close() error {
	err := ignoreClosed(n.conn.Close())
	<-n.done
	return err
}
