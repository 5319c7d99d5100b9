package doctor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// probeUserIDs checks whether this process may become each of the users that scenarios need, and
// may set the CPU affinity of their processes. setuid(2) needs capabilities, and user ids that the
// user namespace maps. sched_setaffinity(2) needs CAP_SYS_NICE for another user's process.
func probeUserIDs() Result {
	if !sys.Holds(unix.CAP_SETUID, unix.CAP_SETGID) {
		return no("no CAP_SETUID and CAP_SETGID", "run as root")
	}
	if !sys.Holds(unix.CAP_SYS_NICE) {
		return no("no CAP_SYS_NICE", "run as root; in a container, add --cap-add SYS_NICE")
	}
	const first, last = sys.FirstOtherUser, sys.FirstOtherUser + sys.OtherUsers - 1
	for _, file := range []string{"/proc/thread-self/uid_map", "/proc/thread-self/gid_map"} {
		mapped, err := mapsOtherUsers(file)
		if err != nil {
			return unknown(err.Error(), "")
		}
		if !mapped {
			return no(fmt.Sprintf("%s has no ids %d to %d", file, first, last),
				"run as root, outside a user namespace")
		}
	}
	return yes("%d to %d", first, last)
}

// mapsOtherUsers reports whether a file of id mappings, such as /proc/self/uid_map, maps the ids of
// the users that scenarios need.
func mapsOtherUsers(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	mapped, err := mapsIDs(f, sys.FirstOtherUser, sys.OtherUsers)
	if err != nil {
		return false, fmt.Errorf("%s: %w", file, err)
	}
	return mapped, nil
}

// mapsIDs reports whether one line of a file of id mappings contains the n ids from first on. A
// line has three numbers: the first id inside the namespace, the first id outside, and the number
// of ids (user_namespaces(7)).
func mapsIDs(r io.Reader, first, n uint64) (bool, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(text)) {
		var from, outside, length uint64
		if _, err := fmt.Sscan(line, &from, &outside, &length); err != nil {
			return false, errors.Join(fmt.Errorf("line %q", strings.TrimSpace(line)), err)
		}
		if from <= first && first+n <= from+length {
			return true, nil
		}
	}
	return false, nil
}
