# The two commands a newcomer needs: make bench, make test. 'make check' is what must pass before a commit.

BIN := bin/reuseport-bench
GO  ?= go
CI_SCENARIOS := ci-restart ci-steady

# No C: nothing here needs it, a static binary runs on any distribution, and a worker starts sooner without the dynamic linker.
export CGO_ENABLED = 0

.PHONY: build bench bench-ci bench-full bench-engine baseline test test-race selftest kill-test image check generate clean

build:
	$(GO) build -o $(BIN) ./bench

# The default suite: at most three minutes on two CPUs. RUN_FLAGS adds options, for example
# make bench RUN_FLAGS='--trials 20'.
bench: build
	./$(BIN) run $(RUN_FLAGS)

# What CI runs, with gates that can fail: under four minutes on two CPUs.
bench-ci: build
	./$(BIN) run $(RUN_FLAGS) $(CI_SCENARIOS)

# Every scenario. An interrupted run goes on with RUN_FLAGS='--resume DIR'.
bench-full: build
	./$(BIN) run $(RUN_FLAGS) $$(./$(BIN) list --names)

# The load generator beside stock vegeta, wrk and others: a benchmark, never a test. ENGINE_FLAGS adds options.
bench-engine: build
	$(GO) build -o bin/vegeta github.com/tsenart/vegeta/v12
	./$(BIN) bench-engine $(ENGINE_FLAGS)

# Renews the reference run of the scenarios for CI, if its gates pass. Look at 'compare' of the old one with it before you commit it.
baseline: build
	rm -rf results/runs/baseline-ci
	./$(BIN) run $(RUN_FLAGS) --out results/runs/baseline-ci $(CI_SCENARIOS)
	mkdir -p results/baseline/ci
	gzip -9 -n -c results/runs/baseline-ci/run.json > results/baseline/ci/run.json.gz

# Kernel tests skip what the machine cannot do; REQUIRE_KERNEL=1 makes a skip a failure. TEST_FLAGS adds options. One package is tested
# after the other, because tests that measure would disturb each other; what they need is compiled before, side by side (vet).
# Trials that only count take a third of a CPU each: four run side by side, after those that measure.
test:
	$(GO) vet ./...
	$(GO) test -p 1 -parallel 4 $(TEST_FLAGS) ./...

# The program, HAProxy and nft in an image; docs/containers.md says how to run it. DOCKER=podman
# does, too.
DOCKER := docker
image:
	$(DOCKER) build -t reuseport-bench .

# Once more with the race detector, where there is a C compiler.
test-race:
	CGO_ENABLED=1 $(GO) test -race ./...

# Whether the comparisons say what they should: false alarms, power and coverage, by thousands of rounds. An hour or two.
selftest:
	$(GO) test ./results/compare ./bench/internal/gates ./bench -run 'TestSelf|TestKernelSelf|TestIntervalCoverage' \
		-selftest -v -timeout 120m -count=1

# Ends KILLS runs at random instants, in every lab, by every signal, as root and as an ordinary user: is anything
# left, and do they go on to their end? Five seconds each.
KILLS := 200
kill-test:
	$(GO) test ./bench -run TestKernelKills -kills $(KILLS) -v -timeout 120m -count=1

check:
	@scripts/check.sh

# Rewrites golden files. Look at the difference before you commit it.
generate:
	$(GO) generate ./...
	$(GO) test ./scenarios ./results/report ./results/report/formats ./bench/internal/plan ./bench/internal/kube -update

clean:
	rm -rf bin
