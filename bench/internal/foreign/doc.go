// Package foreign runs a third-party server: nginx, gunicorn, or a service of the user. It starts
// the server by a command, finds out when the server is ready, restarts it by actions, and proves
// that each restart changed something.
//
// A server runs in a home (home.go, agent.go): a mount namespace in the lab, the trial's private
// namespaces. In the home, /proc shows the lab's PID namespace, and empty in-memory file systems
// are mounted on /run and /var/log. The server's directory is in /run. So what the server writes
// there is gone however the trial ends, and its logs cannot fill the disk. The agent is a child
// process that runs this program's binary. It makes the home, and starts every command of the
// server in it, under the server's user id. Each restart begins a new generation of the server.
//
// PIDs in this package are PIDs in the lab's PID namespace. The server sees the same numbers, so
// they agree with its pid files and response headers.
//
// Each file has one task. config.go says what can be configured. template.go renders files,
// words.go splits commands into words, and environment.go makes their environment. user.go finds
// the user id. protocol.go has the messages between this program and the agent. command.go
// represents a started command, and output.go keeps what commands write. notify.go receives the
// server's messages, and probe.go sends it requests. process.go lists the processes of the home and
// signals them. server.go starts and stops the server. ready.go finds out whether it is ready.
// restart.go carries out actions, and change.go proves that they changed something. explain.go adds
// the server's last lines of output, and the limits it has reached, to errors.
//
// The kernel tells when a process has exited (pidfd_open(2)). Most servers do not report when they
// reach another state, and nothing reports a new listener. So this package polls such conditions,
// less often as time passes, and limits every wait.
package foreign
