package foreign

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// linesShown is the number of the server's last lines that a message shows.
const linesShown = 6

// explain adds the server's last lines of output, and the limits that the server has reached, to an
// error.
func (s *Server) explain(err error) error {
	if err == nil || s.home == nil || errors.Is(err, errAgent) {
		return err
	}
	if st := s.newest(); st != nil {
		st.command.awaitOutput()
	}
	var add strings.Builder
	for _, limit := range s.AtLimits() {
		add.WriteString("; " + limit)
	}
	lines := s.LastWords()
	if text := hintAt(lines, s.cfg.Address.String(), s.home.account.name); text != "" {
		add.WriteString("; " + text)
	}
	if len(lines) == 0 {
		add.WriteString("; it wrote nothing")
	} else {
		add.WriteString("; its last lines:\n\t" + strings.Join(lines, "\n\t"))
	}
	return fmt.Errorf("%w%s", err, add.String())
}

// nginxDocs is where the documents say how to use an nginx.conf of the user's own.
const nginxDocs = "see docs/own-server.md#nginx-with-your-own-nginxconf"

// A hint is what to do about a failure that a line of the server's output describes.
type hint struct {
	pattern *regexp.Regexp
	text    string // %s is the user under whose id the server runs
}

// hints returns all hints. The first that matches a line applies.
var hints = sync.OnceValue(func() []hint {
	return []hint{
		{regexp.MustCompile(`/var/lib/nginx/.*Permission denied`), "user %s may not write there: " +
			"set client_body_temp_path and the other _temp_path directives to paths below /run, " +
			nginxDocs},
		{regexp.MustCompile(`bind\(\) to .* failed \(\d+`), "user %s cannot listen there: delete " +
			"or change every other listen directive, " + nginxDocs},
		{regexp.MustCompile(`(?i)(listen|bind).*(permission denied|EACCES)`), "user %s may not " +
			"listen there: let it listen at HOST and PORT"},
		{regexp.MustCompile(`(?i)permission denied|\bEACCES\b`), "it runs as user %s: give it a " +
			"path below /run, or another user (server.user, --user)"},
	}
})

// hintAt returns what the user can do about the failure that the lines describe, or "". Lines about
// the address that the server is to have do not count.
func hintAt(lines []string, address, user string) string {
	for _, h := range hints() {
		for _, line := range lines {
			if h.pattern.MatchString(line) && !strings.Contains(line, address+" ") {
				return fmt.Sprintf(h.text, user)
			}
		}
	}
	return ""
}

// LastWords returns the last lines of the server's output and of its newest log file.
func (s *Server) LastWords() []string {
	lines := s.output.last(linesShown)
	if name, logged := s.newestLog(); name != "" {
		lines = append(lines, name+":")
		lines = append(lines, logged...)
	}
	return lines
}

// logEntries is the maximum number of files and directories among which newestLog searches, in each
// of the two directories that the server can write to.
const logEntries = 10_000

// newestLog returns the last lines of the most recently written file in the home whose name ends in
// ".log".
func (s *Server) newestLog() (name string, lines []string) {
	var newest time.Time
	root := s.home.path("")
	for _, dir := range []string{homeDirectory, "/var/log"} {
		entries := 0
		_ = filepath.WalkDir(filepath.Join(root, dir), func(
			path string, e fs.DirEntry, err error,
		) error {
			if entries++; entries > logEntries {
				return fs.SkipAll
			}
			if err != nil || !e.Type().IsRegular() || filepath.Ext(path) != ".log" {
				return nil
			}
			info, err := e.Info()
			if err == nil && info.Size() > 0 && info.ModTime().After(newest) {
				newest, name = info.ModTime(), strings.TrimPrefix(path, root)
			}
			return nil
		})
	}
	if name == "" {
		return "", nil
	}
	text, err := s.home.read(name, outputLimit)
	if err != nil {
		return "", nil
	}
	return name, lastLines(text, linesShown)
}

// quoteLines returns the lines in a form that can be appended to a message.
func quoteLines(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return ": " + strings.Join(lines, " / ")
}

// listensElsewhere returns an error that says at which addresses the processes of a start listen.
func (s *Server) listensElsewhere(st *start) error {
	all, err := s.allListeners()
	if err != nil {
		return err
	}
	var at []string
	for _, q := range s.owners(st, all) {
		address := netip.AddrPortFrom(q.Addr, q.Port).String()
		if !slices.Contains(at, address) {
			at = append(at, address)
		}
	}
	if len(at) == 0 {
		return fmt.Errorf("nothing of it listens at %v", s.cfg.Address)
	}
	return fmt.Errorf("it listens at %s, not at %v; use {{port}} or $PORT in its command or files",
		strings.Join(at, " and "), s.cfg.Address)
}

// AtLimits returns the limits that the server has reached, as sentences. Call it before Close.
func (s *Server) AtLimits() (reached []string) {
	all, err := s.home.processes()
	if err != nil {
		return nil
	}
	threads := uint64(0)
	for _, p := range all {
		threads += p.threads
		if n, limit := p.descriptors(), s.home.limits.Files; n >= limit {
			reached = append(reached,
				fmt.Sprintf("process %v has open all %d descriptors that it may have", p, limit))
		}
		// A server at its limit uses somewhat less memory than the limit, because its last
		// allocation failed.
		if n, limit := p.memory(), s.home.limits.Memory; n >= limit/10*9 {
			reached = append(reached, fmt.Sprintf("process %v uses %d MiB of the %d MiB of memory "+
				"that it may use", p, n>>20, limit>>20))
		}
	}
	// The limit also counts the user's threads outside the home.
	if limit := s.home.limits.Processes; threads >= limit/10*9 {
		reached = append(reached, fmt.Sprintf("it has %d processes and threads of the %d that "+
			"its user may have", threads, limit))
	}
	for _, dir := range []string{"/run", "/var/log"} {
		var st unix.Statfs_t
		err := unix.Statfs(s.home.path(dir), &st)
		if err == nil && st.Type == unix.TMPFS_MAGIC && st.Bavail == 0 {
			reached = append(reached,
				fmt.Sprintf("%s is full: it holds %d MiB", dir, uint64(homeSize)>>20))
		}
	}
	return reached
}

// descriptors returns the number of descriptors that the process has open.
func (p Process) descriptors() uint64 {
	dir, err := os.Open(p.Path + "/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return uint64(len(names))
}

// memory returns the bytes of private memory that RLIMIT_DATA counts (VmData).
func (p Process) memory() (bytes uint64) {
	text, _ := os.ReadFile(p.Path + "/status")
	for line := range strings.Lines(string(text)) {
		if size, found := strings.CutPrefix(line, "VmData:"); found {
			_, _ = fmt.Sscan(size, &bytes)
		}
	}
	return bytes << 10
}
