package foreign

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// outputLimit is the minimum number of bytes of the latest output that are kept.
const outputLimit = 64 << 10

// lineLimit is the maximum number of bytes of a line that are matched and shown.
const lineLimit = 400

// An output holds the latest bytes that commands have written to their standard output and error:
// at least outputLimit bytes, and at most twice as many. Its methods may be called from several
// goroutines.
type output struct {
	mu       sync.Mutex
	kept     []byte
	watchers []*watcher
	files    []io.Closer
	readers  sync.WaitGroup
}

// A watcher waits for a line that matches a pattern.
type watcher struct {
	pattern *regexp.Regexp
	seen    chan struct{} // closed when a line has matched
}

// watch returns a channel that is closed when a line written after this call matches the pattern.
func (o *output) watch(pattern *regexp.Regexp) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := &watcher{pattern: pattern, seen: make(chan struct{})}
	o.watchers = append(o.watchers, w)
	return w.seen
}

// follow starts a goroutine that reads r until EOF, and adds what it reads to all outputs. If the
// last output is closed, the goroutine ends, too. follow returns a channel that is closed when the
// goroutine ends.
func follow(r io.ReadCloser, all []*output) <-chan struct{} {
	done := make(chan struct{})
	owner := all[len(all)-1]
	owner.mu.Lock()
	owner.files = append(owner.files, r)
	owner.readers.Add(1)
	owner.mu.Unlock()
	go func() {
		defer close(done)
		buffer, line := make([]byte, 32<<10), []byte(nil)
		for {
			n, err := r.Read(buffer)
			for _, o := range all {
				o.add(buffer[:n])
			}
			line = eachLine(append(line, buffer[:n]...), func(line []byte) {
				for _, o := range all {
					o.match(line)
				}
			})
			if err != nil {
				break
			}
		}
		_ = r.Close()
		owner.readers.Done()
	}()
	return done
}

// eachLine calls f for each complete line of b. It returns the first lineLimit bytes of the
// incomplete last line.
func eachLine(b []byte, f func([]byte)) (rest []byte) {
	for {
		line, after, found := bytes.Cut(b, []byte{'\n'})
		if !found {
			return b[:min(len(b), lineLimit)]
		}
		f(line)
		b = after
	}
}

func (o *output) add(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, b...)
	if len(o.kept) > 2*outputLimit { // drop half at once, not a little at each write
		o.kept = append(o.kept[:0], o.kept[len(o.kept)-outputLimit:]...)
	}
}

func (o *output) match(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := 0; i < len(o.watchers); i++ {
		if w := o.watchers[i]; w.pattern.Match(line) {
			close(w.seen)
			o.watchers = append(o.watchers[:i], o.watchers[i+1:]...)
			i--
		}
	}
}

// last returns the last n lines of the output, in the form that lastLines gives them.
func (o *output) last(n int) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return lastLines(o.kept, n)
}

// lastLines returns the last n lines of b that are neither blank nor only marks under the line
// before, such as the "^^^^" of Python's tracebacks. It shortens each to lineLimit bytes, and
// replaces unprintable characters.
func lastLines(b []byte, n int) (lines []string) {
	for len(b) > 0 && len(lines) < n {
		b = bytes.TrimRight(b, "\n")
		i := bytes.LastIndexByte(b, '\n') + 1
		line := strings.TrimSpace(strings.ToValidUTF8(string(b[i:min(len(b), i+lineLimit)]), "�"))
		b = b[:i]
		if strings.Trim(line, "^~ ") != "" {
			lines = append([]string{strings.Map(printable, line)}, lines...)
		}
	}
	return lines
}

func printable(r rune) rune {
	if unicode.IsPrint(r) || r == '\t' {
		return r
	}
	return '�'
}

// close ends the goroutines that follow started with this output as the last one, and waits for
// them.
func (o *output) close() {
	o.mu.Lock()
	for _, f := range o.files {
		_ = f.Close() // the goroutine may have closed it already
	}
	o.mu.Unlock()
	o.readers.Wait()
}
