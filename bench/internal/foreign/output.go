package foreign

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// outputLimit is the number of bytes of the latest output that are kept at least.
const outputLimit = 64 << 10

// lineLimit is the number of bytes of a line that are matched and shown.
const lineLimit = 400

// An output holds what commands have written to their standard output and error. It keeps at least
// the latest outputLimit bytes, and at most twice as many. Its methods may be called from several
// goroutines.
type output struct {
	mu       sync.Mutex
	kept     []byte
	written  int64 // bytes in total, including those no longer kept
	watchers []*watcher
	files    []io.Closer
	readers  sync.WaitGroup
}

// A watcher waits for a line.
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

// follow reads r to its end in a goroutine and adds what it reads to all outputs. Closing the last
// output ends the goroutine. It returns a channel that is closed when the goroutine ends.
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

// eachLine calls f with every complete line. It returns the incomplete rest, at most lineLimit
// bytes of it.
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
	o.written += int64(len(b))
	o.kept = append(o.kept, b...)
	if len(o.kept) > 2*outputLimit { // twice as many, so as not to copy for every line
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

// total returns the number of bytes written.
func (o *output) total() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written
}

// last returns the last n lines.
func (o *output) last(n int) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return lastLines(o.kept, n)
}

// lastLines returns the last n lines that are not blank. Each is cut at lineLimit and made
// printable.
func lastLines(b []byte, n int) (lines []string) {
	for len(b) > 0 && len(lines) < n {
		b = bytes.TrimRight(b, "\n")
		i := bytes.LastIndexByte(b, '\n') + 1
		line := strings.TrimSpace(strings.ToValidUTF8(string(b[i:min(len(b), i+lineLimit)]), "�"))
		b = b[:i]
		if line != "" {
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

// close ends all reading that follow does for this output, and waits for it.
func (o *output) close() {
	o.mu.Lock()
	for _, f := range o.files {
		_ = f.Close() // the reader may have closed it
	}
	o.mu.Unlock()
	o.readers.Wait()
}
