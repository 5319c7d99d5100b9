package foreign

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// defaultUsers are the users under which servers run by default, in order of preference.
var defaultUsers = []string{"www-data", "nobody"}

// An account is the user under which a server runs.
type account struct {
	name     string
	uid, gid int
	// nested is true if the user id does not exist in this program's user namespace. The server
	// then runs in a user namespace of its own, in which the id exists.
	nested bool
}

// findAccount returns the account with the given name. If the name is empty, it returns the first
// of defaultUsers that exists.
func findAccount(name string) (a account, err error) {
	names := defaultUsers
	if name != "" {
		names = []string{name}
	}
	var u *user.User
	for _, name := range names {
		if u, err = user.Lookup(name); err == nil {
			break
		}
	}
	if err != nil {
		return a, fmt.Errorf("user %q: %w; name one of /etc/passwd, or root",
			cmp.Or(name, names[0]), err)
	}
	a.name = u.Username
	var uidErr, gidErr error
	a.uid, uidErr = strconv.Atoi(u.Uid)
	a.gid, gidErr = strconv.Atoi(u.Gid)
	maps, mapErr := mapped(a.uid)
	if err := errors.Join(uidErr, gidErr, mapErr); err != nil {
		return a, fmt.Errorf("user %q: %w", a.name, err)
	}
	a.nested = !maps
	return a, nil
}

// mapped reports whether a user id exists in this process's user namespace (user_namespaces(7)).
func mapped(id int) (bool, error) {
	f, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return false, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var first, outside, count int
		if _, err := fmt.Sscan(lines.Text(), &first, &outside, &count); err != nil {
			return false, fmt.Errorf("/proc/self/uid_map: %w", err)
		}
		if id >= first && id-first < count {
			return true, nil
		}
	}
	return false, nil
}
