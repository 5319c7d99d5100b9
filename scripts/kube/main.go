// The command kubernetes is a whole Kubernetes cluster in one program:
//
//	kubernetes ROLE [FLAG]...
//
// Each role is the unchanged program of the Kubernetes or etcd project, with its own flags, but for
// two: bridge gives the API to a program without client-go, and versions prints what is built in.
// Nothing in the module of reuseport-bench imports this one. 'make kube' builds it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	etcdversion "go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"reuseport-bench/scripts/kube/bridge"
)

const usage = `usage: kubernetes ROLE [FLAG]...

etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, kubelet, kubectl:
          the programs of these names; 'kubernetes ROLE --help' lists their flags
bridge    answers requests for the API in JSON on standard input, on standard output
versions  prints the versions of Kubernetes and etcd as JSON
`

func main() {
	if len(os.Args) < 2 {
		fail()
	}
	role := os.Args[1]
	os.Args = os.Args[1:] // the roles find their name in os.Args[0]
	switch role {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllers.NewControllerManagerCommand())
	case "kube-scheduler":
		run(scheduler.NewSchedulerCommand())
	case "kube-proxy":
		run(proxy.NewProxyCommand())
	case "kubelet":
		run(kubelet.NewKubeletCommand(context.Background()))
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err) // exits with kubectl's statuses
		}
	case "bridge":
		runBridge()
	case "versions":
		json.NewEncoder(os.Stdout).Encode(map[string]string{
			"kubernetes": version.Get().GitVersion, // set by the linker
			"etcd":       "v" + etcdversion.Version,
		})
	case "help", "-h", "--help":
		fmt.Print(usage)
	default:
		fmt.Fprintf(os.Stderr, "kubernetes: unknown role %q\n", role)
		fail()
	}
}

func fail() {
	fmt.Fprint(os.Stderr, usage)
	os.Exit(2)
}

func run(command *cobra.Command) { os.Exit(cli.Run(command)) }

func runBridge() {
	flags := flag.NewFlagSet("bridge", flag.ExitOnError)
	path := flags.String("kubeconfig", "", "the `file` that names the API server and the user")
	flags.Parse(os.Args[1:])
	if *path == "" || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: kubernetes bridge --kubeconfig FILE")
		os.Exit(2)
	}
	config, err := clientcmd.BuildConfigFromFlags("", *path)
	if err == nil {
		err = bridge.Run(context.Background(), config, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes bridge:", err)
		os.Exit(3)
	}
}
