package foreign

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/netlab"
)

const (
	roleInit  = "foreign-test-init"
	roleAgent = "foreign-test-agent"
	roleServe = "serve"
)

// asUser is the name of an environment variable. If it is set, the test binary runs its tests in a
// user namespace.
const asUser = "FOREIGN_TEST_AS_USER"

func TestMain(m *testing.M) {
	roles := map[string]func() error{
		roleInit: netlab.Init, roleAgent: AgentMain, roleServe: serve,
	}
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	for name, value := range map[string]string{
		"PATH": os.Getenv("PATH") + ":/usr/sbin:/sbin", "SECRET": "not the server's",
	} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if os.Getenv(asUser) != "" {
		status, entered, err := netlab.Enter(context.Background())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if entered {
			os.Exit(status)
		}
	}
	// Most tests spend their time waiting, so many can run at once.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// sleepForever waits without doing anything. With select {} the runtime would report a deadlock.
func sleepForever() {
	for {
		time.Sleep(time.Hour)
	}
}

// serve is the server that the tests start by the command "serve MODE". It listens at $HOST and
// $PORT.
func serve() error {
	mode := os.Args[2]
	address := net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT"))
	var status atomic.Int64
	status.Store(http.StatusOK)
	switch mode {
	case "exit":
		return errors.New("cannot read its configuration")
	case "silent":
		sleepForever()
	case "elsewhere":
		address = net.JoinHostPort(os.Getenv("HOST"), "3000")
	case "error":
		status.Store(http.StatusInternalServerError)
	case "background":
		child := exec.Command("/proc/self/exe", roleServe, "orphan")
		child.Env = append(os.Environ(), "PARENT="+strconv.Itoa(os.Getpid()))
		if err := child.Start(); err != nil {
			return err
		}
		return os.WriteFile("server.pid", []byte(strconv.Itoa(child.Process.Pid)), 0o644)
	case "first-only":
		if os.Getenv("GENERATION") != "1" {
			sleepForever()
		}
	case "orphan": // does not serve before its parent has exited
		parent, err := strconv.Atoi(os.Getenv("PARENT"))
		for err == nil && os.Getppid() == parent {
			time.Sleep(time.Millisecond)
		}
	case "deaf":
		signal.Ignore(unix.SIGTERM)
	case "hangup":
		onHangup(func() {})
	case "children":
		if err := exec.Command("sleep", "100").Start(); err != nil {
			return err
		}
	case "dies":
		onHangup(func() {
			fmt.Println("panic: something went wrong")
			os.Exit(3)
		})
	case "crash-loop":
		onHangup(func() { // starts a process that exits at once
			_ = exec.Command("false").Run()
		})
	case "breaks":
		if os.Getenv("GENERATION") != "1" {
			status.Store(http.StatusInternalServerError)
		}
	case "shrinks":
		child := exec.Command("sleep", "100")
		if err := child.Start(); err != nil {
			return err
		}
		onHangup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	}
	listeners, err := listen(address)
	if err != nil {
		return err
	}
	fmt.Println("listening at", listeners[0].Addr())
	switch mode {
	case "recycles", "reloads": // replaces one of its two workers at SIGHUP, or both
		workers := []*exec.Cmd{worker(listeners[0]), worker(listeners[0])}
		onHangup(func() {
			for i := range workers {
				if i > 0 && mode == "recycles" {
					break
				}
				_ = workers[i].Process.Kill()
				_ = workers[i].Wait()
				workers[i] = worker(listeners[0])
			}
			if text, err := os.ReadFile("generation"); err == nil {
				_ = os.Setenv("GENERATION", string(text))
			}
		})
	case "notify":
		notify()
	case "talkative":
		go talk()
	case "descriptors":
		go eatDescriptors()
	case "memory":
		go eatMemory()
	}
	ended := make(chan error)
	for _, l := range listeners {
		go func() { ended <- http.Serve(l, answers(mode, &status)) }()
	}
	return <-ended
}

func answers(mode string, status *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Worker", strconv.Itoa(os.Getpid()))
		w.Header().Set("Generation", os.Getenv("GENERATION"))
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, "served by "+mode)
	}
}

// listen returns the sockets that were passed to this process (sd_listen_fds(3)), or a new one.
func listen(address string) (all []net.Listener, err error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		l, err := config.Listen(context.Background(), "tcp", address)
		return []net.Listener{l}, err
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	for fd := 3; fd < 3+n; fd++ {
		l, listenErr := net.FileListener(os.NewFile(uintptr(fd), "listener"))
		all, err = append(all, l), errors.Join(err, listenErr)
	}
	return all, err
}

// onHangup calls f at each SIGHUP.
func onHangup(f func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, unix.SIGHUP)
	go func() {
		for range hangup {
			f()
		}
	}()
}

// worker starts a process that has a listener open.
func worker(l net.Listener) *exec.Cmd {
	c := exec.Command("sleep", "100")
	if l, ok := l.(*net.TCPListener); ok {
		if f, err := l.File(); err == nil {
			defer f.Close()
			c.ExtraFiles = []*os.File{f}
		}
	}
	if err := c.Start(); err != nil {
		fmt.Println(err)
	}
	return c
}

func notify() {
	c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err == nil {
		_, _ = io.WriteString(c, "STATUS=serving\nREADY=1\n")
		_ = c.Close()
	}
}

func talk() {
	line := []byte(strings.Repeat("x", 1<<20) + "\n")
	for range 70 {
		_, _ = os.Stdout.Write(line)
	}
	fmt.Println("the last line")
}

func eatDescriptors() {
	for {
		if _, err := os.Open("/dev/null"); err != nil {
			fmt.Println(err)
			sleepForever()
		}
	}
}

func eatMemory() {
	for { // memory from mmap is not garbage-collected
		_, err := unix.Mmap(-1, 0, 16<<20, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			fmt.Println("mmap:", err)
			sleepForever()
		}
	}
}
