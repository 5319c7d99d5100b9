package foreign

import (
	"maps"
	"os"
	"slices"
	"strconv"
)

// An environment is a server's environment variables.
type environment map[string]string

// environment returns the variables that every command of the server gets. It omits variables of
// Config.Env whose templates are invalid; Config.Check reports these.
func (c Config) environment(vars Variables) environment {
	env := environment{
		"PATH": os.Getenv("PATH"), "LANG": "C.UTF-8",
		"HOME": homeDirectory, "TMPDIR": tempDirectory,
		"HOST": vars["host"], "PORT": vars["port"],
		"WORKERS": vars["workers"], "GENERATION": vars["generation"],
	}
	if c.Ready.Notify {
		env["NOTIFY_SOCKET"] = notifySocket
	}
	for name, value := range c.Env {
		if value, err := vars.render("env."+name, value); err == nil {
			env[name] = value
		}
	}
	return env
}

// passing returns e with the variable that tells a command that it gets n listening sockets
// (sd_listen_fds(3)). The agent adds LISTEN_PID.
func (e environment) passing(n int) environment {
	if n == 0 {
		return e
	}
	e = maps.Clone(e)
	e["LISTEN_FDS"] = strconv.Itoa(n)
	return e
}

func (e environment) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// list returns the variables as NAME=value, sorted.
func (e environment) list() (all []string) {
	for _, name := range slices.Sorted(maps.Keys(e)) {
		all = append(all, name+"="+e[name])
	}
	return all
}
