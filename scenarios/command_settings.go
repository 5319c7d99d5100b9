package scenarios

import (
	"reuseport-bench/scenarios/strictyaml"
)

// aCommand is the value of Needs for settings of third-party servers.
const aCommand = "server.kind: command"

// choices returns choices that need no explanation.
func choices(values ...string) (all []strictyaml.Choice) {
	for _, v := range values {
		all = append(all, strictyaml.Choice{Value: v})
	}
	return all
}

// commandSettings returns the settings of third-party servers.
func commandSettings() []strictyaml.Setting {
	const action = "server.restarts.NAME[]."
	const wait = action + "wait."
	targets := []strictyaml.Choice{
		{Value: "main", Doc: "the main process"},
		{Value: "old-main", Doc: "the main process before the restart"},
		{Value: "workers", Doc: "all other processes of the server"},
		{Value: "old-workers", Doc: "those of them that ran before the restart"},
	}
	all := []strictyaml.Setting{
		{Path: "server.forks", Default: "false", Needs: aCommand,
			Unset: "false, the server stays in the foreground",
			Doc: "Whether server.start ends with status 0 once the server runs in the background " +
				"(Type=forking in systemd.service(5))."},
		{Path: "server.pid_file", Needs: aCommand, Example: "nginx.pid",
			Unset: "the main process is the one that server.start makes",
			Doc: "The file with the PID of the main process, relative to the working directory " +
				"of the server's commands. It may change in a restart."},
		{Path: "server.directory", Needs: aCommand, Example: "/srv/app",
			Unset: "{{directory}}, see server.files",
			Doc: "The working directory of the server's commands, relative to the directory of " +
				"the scenario file."},
		{Path: "server.user", Needs: aCommand, Example: "www-data", Unset: "www-data, or nobody",
			Doc: "The user under whose id the server runs, as root. For another user the server " +
				"sees this user's id, or 0 with root."},
		{Path: "server.restart_within", Min: ms, Max: 10 * minute, OrZero: true, Default: "0s",
			Example: "30s", Needs: aCommand, Unset: "10s",
			Doc: "How long a restart may take, from its last action, until a change proves it " +
				"and the server is ready."},
		{Path: "server.identify.worker", Needs: aCommand, Example: "Worker",
			Doc: "The response header with the PID of the process that answered."},
		{Path: "server.identify.generation", Needs: aCommand, Example: "Generation",
			Doc: "The response header with {{generation}}."},
	}
	all = append(all, readySettings("server.ready.")...)
	all = append(all, stopSettings("server.stop.")...)
	return append(all, []strictyaml.Setting{
		{Path: action + "signal", Example: "HUP", Doc: "Sends this signal."},
		{Path: action + "to", Choices: targets, Needs: "signal", Unset: "main",
			Doc: "Which processes get the signal."},
		{Path: action + "run", Example: "nginx -s reload", Doc: "Runs a command as the server's user."},
		{Path: action + "exit", Max: 255, Needs: "run", Unset: "0",
			Doc: "The exit status that the command must have."},
		{Path: action + "start", Choices: choices("next"),
			Doc: "Runs server.start once more, with the next generation."},
		{Path: action + "stop", Choices: choices("previous"),
			Doc: "Stops the main process that ran before the restart, as server.stop says, and " +
				"waits until all processes from before the restart have ended."},
		{Path: action + "write", Choices: choices("files"),
			Doc: "Writes server.files anew. Without such an action they are written before the " +
				"first action."},
		{Path: action + "within", Min: ms, Max: 10 * minute, OrZero: true, Default: "0s",
			Example: "5s", Needs: "run or wait", Unset: "10s",
			Doc: "How long the action may take."},
		{Path: wait + "ready", Choices: choices("next"),
			Doc: "The instance that start: next has started is ready."},
		{Path: wait + "listening", Default: "false",
			Doc: "A process of the server listens at {{address}}."},
		{Path: wait + "http", Example: "/health", Doc: "A request for this path is answered well."},
		{Path: wait + "generation", Choices: choices("answers"),
			Needs: "server.identify.generation",
			Doc:   "The new generation answers."},
		{Path: wait + "file", Example: "nginx.pid.oldbin",
			Doc: "The file exists. Its path is relative to the working directory of the " +
				"server's commands."},
		{Path: wait + "pid_file", Choices: choices("changed"), Needs: "server.pid_file",
			Doc: "The file names a process that did not run before the restart."},
		{Path: wait + "gone", Choices: targets, Doc: "These processes have ended."},
		{Path: wait + "stdout", Example: "ready",
			Doc: "The server has written a line that matches this regular expression (RE2) to " +
				"stdout or stderr since the restart began."},
	}...)
}

// readySettings returns the settings of the condition under which a process is ready. Their paths
// begin with prefix.
func readySettings(prefix string) []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: prefix + "http", Example: "/health", Needs: aCommand,
			Doc: "A request for this path is answered by ready.status."},
		{Path: prefix + "status", Min: 200, Max: 599, OrZero: true, Default: "0",
			Needs: prefix + "http", Unset: "any from 200 to 399",
			Doc: "The status of the answer."},
		{Path: prefix + "listening", Default: "false", Needs: aCommand,
			Doc: "A process of the server listens at {{address}}."},
		{Path: prefix + "notify", Default: "false", Needs: aCommand,
			Doc: "The server has sent READY=1 (sd_notify(3))."},
		{Path: prefix + "stdout", Example: "listening on", Needs: aCommand,
			Doc: "The server has written a line that matches this regular expression (RE2) to " +
				"stdout or stderr."},
		{Path: prefix + "run", Example: "curl -fs http://{{address}}/health", Needs: aCommand,
			Doc: "This command ends with status 0."},
		{Path: prefix + "within", Min: ms, Max: 10 * minute, OrZero: true, Default: "0s",
			Example: "20s", Needs: aCommand, Unset: "20s",
			Doc: "How long the start may take until then."},
	}
}

// stopSettings returns the settings of stopping a process. Their paths begin with prefix.
func stopSettings(prefix string) []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: prefix + "signal", Example: "QUIT", Needs: aCommand, Unset: "TERM",
			Doc: "The signal that stops it."},
		{Path: prefix + "grace", Max: 10 * minute, Default: "0s", Example: "5s",
			Needs: aCommand, Unset: "10s",
			Doc: "How long it may take to stop before it is killed. For a server in a pod, it is " +
				"kube.grace."},
	}
}

// besideSettings returns the settings of the processes that run beside a third-party server.
func besideSettings() []strictyaml.Setting {
	const one = "server.beside.NAME."
	all := []strictyaml.Setting{
		{Path: one + "start", Example: "redis-server --port {{port}}",
			Doc: "The command that starts it; see server.start."},
		{Path: one + "port", Max: 65535, Default: "0", Example: "6379", Unset: "none",
			Doc: "The TCP port at which it listens, on the server's address."},
	}
	return append(append(all, readySettings(one+"ready.")...), stopSettings(one+"stop.")...)
}

// requestSettings returns the settings of the request that the load sends.
func requestSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "request.method", Example: "HEAD", Needs: aCommand,
			Unset: "GET, or POST with load.body", Doc: "The method of the request."},
		{Path: "request.path", Example: "/search?q=x", Needs: aCommand, Unset: "/",
			Doc: "The path of the request, with its query."},
		{Path: "request.status", Example: "2xx+304", Needs: aCommand, Unset: "200",
			Doc: "The statuses that count as served: 200, 2xx or 200-299, joined by +. An " +
				"attempt with another answer is lost: error_answer."},
	}
}
