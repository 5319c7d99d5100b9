// Package foreign runs a server that the program did not write: nginx, gunicorn, a user's own
// service. It starts the server by a command, learns when it is ready, restarts it by actions, and
// proves that each restart changed something.
//
// A Server lives in a home (home.go, agent.go): a mount namespace in the lab, with a /proc of the
// lab's PID namespace, and with empty file systems in memory on /run and /var/log. The server's own
// directory is in /run. So nothing of it is left on disk, however the trial ends, and a log cannot
// fill the disk. The agent is this program in a child role. It makes the home and starts every
// command in it, under the user id that the server gets.
//
// The home has its own numbering of processes, the lab's, which the server's pid files and response
// headers use. All PIDs in this package are the lab's.
//
// Each file has one task: config.go says what can be configured; template.go renders files,
// words.go splits commands and environment.go has their variables; user.go finds the user id;
// protocol.go is what this program and the agent say to each other; command.go is one started
// command and output.go what it writes; notify.go and probe.go hear and ask the server;
// process.go lists the processes of the home and signals them; server.go starts and stops the
// server; ready.go says when it is ready; restart.go carries out actions, and change.go proves that
// they changed something; explain.go says what went wrong, with the server's last lines.
//
// Most servers do not say when a state is reached. Conditions on them are polled every pollEvery,
// and each wait has a limit.
package foreign
