# Start with 'make bench' and 'make test'. 'make check' must pass before a commit. 'make help' lists
# the targets, each with the first sentence of the comment above it.

BIN := bin/reuseport-bench
GO  ?= go
CI_SCENARIOS := ci-restart ci-steady

# Without C: nothing here needs it, a static binary runs on any distribution, and a worker starts
# sooner without the dynamic linker.
export CGO_ENABLED = 0

# make ends with 2 whatever a command ended with. So the status is printed: 1 a gate failed, 3 could
# not measure.
say_status = || { \
	status=$$?; echo "reuseport-bench ended with status $$status; make ends with 2" >&2; exit $$status; }

# Where 'make install' puts the program and its completions, below DESTDIR.
PREFIX := /usr/local

.PHONY: build help install bench bench-ci bench-full bench-engine baseline
.PHONY: test test-race selftest kill-test image check generate clean
.PHONY: kube kube-deps test-kube

# Builds the program, bin/reuseport-bench.
build:
	$(GO) build -o $(BIN) ./bench

# Lists the targets.
help:
	@awk '/^#/ { text = text substr($$0, 2); next } \
		/^[a-z-]+:($$| )/ { sub(/:.*/, ""); sub(/\. .*/, ".", text); printf "%-13s%s\n", $$0, text } \
		/^$$/ { text = "" }' $(firstword $(MAKEFILE_LIST))

# Installs the program, and the scripts with which shells complete its commands. They complete
# scenarios, labels and runs, too.
install: build
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/reuseport-bench
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	./$(BIN) completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/reuseport-bench
	./$(BIN) completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_reuseport-bench
	./$(BIN) completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/reuseport-bench.fish

# Runs the default suite, which takes at most three minutes on two CPUs. RUN_FLAGS adds options, for
# example make bench RUN_FLAGS='--trials 20'.
bench: build
	@./$(BIN) run $(RUN_FLAGS) $(say_status)

# Runs the scenarios that CI runs, in under four minutes on two CPUs. Their gates can fail.
bench-ci: build
	@./$(BIN) run $(RUN_FLAGS) $(CI_SCENARIOS) $(say_status)

# Runs every scenario. Continue an interrupted run with RUN_FLAGS='--resume DIR'.
bench-full: build
	@./$(BIN) run $(RUN_FLAGS) $$(./$(BIN) list --names) $(say_status)

# Compares the load generator with stock vegeta, wrk and others. It is a benchmark, not a test.
# ENGINE_FLAGS adds options.
bench-engine: build
	$(GO) build -o bin/vegeta github.com/tsenart/vegeta/v12
	./$(BIN) bench-engine $(ENGINE_FLAGS)

# Replaces the reference run of the scenarios for CI, if its gates pass. Compare the old run with
# the new one ('reuseport-bench compare') before you commit it.
baseline: build
	rm -rf results/runs/baseline-ci
	./$(BIN) run $(RUN_FLAGS) --out results/runs/baseline-ci $(CI_SCENARIOS)
	mkdir -p results/baseline/ci
	gzip -9 -n -c results/runs/baseline-ci/run.json > results/baseline/ci/run.json.gz

# Runs all tests. Kernel tests skip what the machine cannot do; REQUIRE_KERNEL=1 makes a skip a
# failure. TEST_FLAGS adds options. Packages are tested one after another (-p 1), because tests that
# measure would disturb each other; vet compiles them in parallel first. Trials that only count take
# a third of a CPU each, so four of them run in parallel, after those that measure.
test:
	$(GO) vet ./...
	$(GO) test -p 1 -parallel 4 $(TEST_FLAGS) ./...

# Builds a container image with the program, HAProxy and nft. docs/containers.md says how to run it.
# DOCKER=podman also works.
DOCKER := docker
image:
	$(DOCKER) build -t reuseport-bench .

# Runs the tests with the race detector, which needs a C compiler.
test-race:
	CGO_ENABLED=1 $(GO) test -race ./...

# Tests the comparisons in thousands of rounds: false alarms, power and coverage. An hour or two.
selftest:
	$(GO) test ./results/compare ./bench/internal/gates ./bench \
		-run 'TestSelf|TestKernelSelf|TestIntervalCoverage' -selftest -v -timeout 120m -count=1

# Ends KILLS runs at random instants, and checks that each can be resumed to its end. The runs are
# in every lab, as root and as an ordinary user, and every signal ends some of them. Also checks
# that nothing is left behind. Five seconds each.
KILLS := 200
kill-test:
	$(GO) test ./bench -run TestKernelKills -kills $(KILLS) -v -timeout 120m -count=1

# Builds the parts of a real Kubernetes, for kube.control: real. The first time, that takes four to
# eight minutes on two CPUs, and 3 GB in Go's caches. The program is kept in ~/.cache and linked as
# bin/kube/kubernetes.
kube:
	@GO="$(GO)" scripts/kube-build.sh

# Downloads containerd, runc, CNI plugins, nft and iptables, for kube.control: real. They are packages
# of Debian or Ubuntu, unpacked in ~/.cache and linked as bin/kube/deps. Nothing is installed.
kube-deps:
	@scripts/kube-deps.sh

# Tests with a real Kubernetes: needs root, and 'make kube-deps kube' before.
test-kube:
	cd scripts/kube && $(GO) test -trimpath -count=1 ./...
	REQUIRE_KERNEL=1 REUSEPORT_BENCH_KUBE=$(CURDIR)/bin/kube \
		$(GO) test -tags kube -count=1 -timeout 20m ./bench/internal/kubernetes
	REQUIRE_KERNEL=1 $(GO) test -tags kube -count=1 -timeout 20m ./bench -run TestKubernetes

# Checks format, vet, staticcheck, go.mod and import directions, as before every commit.
check:
	@scripts/check.sh

# Compiles the eBPF programs and rewrites generated documents and golden files. The documents are
# docs/reference.md, docs/glossary.md, and the tables between markers in others. Look at the
# difference before you commit.
generate:
	$(GO) generate ./...
	$(GO) test ./scenarios ./results/claims ./results/report ./results/report/formats \
		./bench/internal/plan ./bench/internal/kube -update
	$(GO) test ./bench -run 'TestReference|TestTables|TestPresets' -update

# Removes the built programs.
clean:
	rm -rf bin
