// Package foreign runs a server that the program did not write: nginx, gunicorn, a user's own
// service. It starts the server by a command, learns when it is ready, restarts it by actions, and
// proves that each restart changed something.
//
// A Server lives in a home (home.go, agent.go): a mount namespace in the lab, with a /proc of the
// lab's PID namespace and empty in-memory file systems on /run and /var/log. The server's own
// directory is in /run. So it leaves nothing on disk, however the trial ends, and its logs cannot
// fill the disk. The agent is this program in a child role. It makes the home and starts every
// command in it, under the server's user id.
//
// PIDs in this package are those of the lab's PID namespace. The home uses the same numbers, so
// they agree with the server's pid files and response headers.
//
// Each file has one task. config.go says what can be configured. template.go renders files,
// words.go splits commands into words, and environment.go makes their environment. user.go finds
// the user id. protocol.go has the messages between this program and the agent. command.go is one
// started command, and output.go what it writes. notify.go receives the server's messages, and
// probe.go sends it requests. process.go lists the processes of the home and signals them.
// server.go starts and stops the server. ready.go says when it is ready. restart.go carries out
// actions, and change.go proves that they changed something. explain.go adds to errors what went
// wrong, with the server's last lines.
//
// Most servers do not say when a state is reached. Conditions on them are polled every pollEvery,
// and each wait has a limit.
package foreign
