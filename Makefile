# holdfast: one command for each thing a person wants.
#   make demo      back up and restore three machines, shown and checked
#   make test      every test, fetching what it needs
GO      ?= go
TAGS    := synctests
CACHE   ?= $(HOME)/.cache/holdfast
export HOLDFAST_CACHE := $(CACHE)
# The S3 server of the tests. Its version is in its name, so it is built once for
# each: about 100 CPU s, where Go's own cache knows nothing of it.
S3SERVER := $(CACHE)/versitygw-$(shell sed -n 's|.*versity/versitygw \(v[^ ]*\).*|\1|p' ops/tools/go.mod)-$(shell $(GO) env GOARCH)

# Real Kafka brokers for tests, named by what made them: a fresh checkout makes
# every file look newer than a restored cache.
KAFKA_MADE_BY := libs/stage/kafkatest/pom.xml libs/stage/kafkatest/install.sh
KAFKA         := $(CACHE)/kafka-$(shell cat $(KAFKA_MADE_BY) | sha256sum | cut -c1-12)

.PHONY: all build demo deps kafka sizes test race mutants lint generate bench soak kill load sim fleet questions clean

all: lint test

build: bin/holdfast

bin/holdfast: $(shell find . -name '*.go' -not -path './ops/tools/*') go.mod go.sum
	$(GO) build -o $@ ./services/holdfast

bin/straight: $(shell find libs schemas loadtest/straight -name '*.go') go.mod go.sum
	$(GO) build -o $@ ./loadtest/straight

demo: bin/holdfast
	bin/holdfast demo

# What tests use beside Go: kcat, which asks as a stranger would, e2fsck, which
# judges the demo's disks, qemu-img, which judges the formats that disks are
# written in, and java and mvn, for real Kafka brokers. Where there is no apt,
# tests that need them say so.
deps:
	@command -v kcat >/dev/null && command -v e2fsck >/dev/null && command -v qemu-img >/dev/null && command -v java >/dev/null && command -v mvn >/dev/null || ! command -v apt-get >/dev/null || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq kcat e2fsprogs qemu-utils default-jre-headless maven >/dev/null; }

$(S3SERVER):
	$(GO) -C ops/tools build -trimpath -ldflags='-s -w' -o $@ github.com/versity/versitygw/cmd/versitygw

# 46 jars of Maven's central repository, 90 MB with the archive of parsed classes.
kafka:
	@if ! command -v java >/dev/null || ! command -v mvn >/dev/null; then echo 'make kafka: java or mvn is not there; nothing is tested on real brokers'; \
	elif [ ! -e $(KAFKA)/bootstrap.checkpoint ]; then libs/stage/kafkatest/install.sh libs/stage/kafkatest/pom.xml $(KAFKA); fi

# What was fetched for tests and for the one-machine mode.
sizes:
	@du -sh $(CACHE)/*/ 2>/dev/null || echo 'nothing in $(CACHE)'

test: bin/holdfast kafka $(S3SERVER)
	$(GO) vet -tags $(TAGS) ./...
	$(GO) test -tags $(TAGS) ./...

# Under the race detector, with few seeds: interleavings matter here, not draws.
race: bin/holdfast kafka $(S3SERVER)
	SEEDS=$(or $(SEEDS),4) $(GO) test -race -timeout 18m -tags $(TAGS) ./...

# Breaks the house once for each entry of loadtest/mutants, and wants the test that
# it names to fall. ONLY=regexp chooses by list or name.
mutants:
	$(GO) run ./loadtest/mutants -only '$(ONLY)'

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'gofmt would change these'; exit 1; }
	$(GO) vet -tags $(TAGS) ./...
	$(GO) tool -modfile=ops/tools/go.mod staticcheck -tags $(TAGS) ./...

# The generated code is committed; this is for whoever changes a message.
generate:
	cd schemas && $$($(GO) -C ../ops/tools tool -n buf) lint && $$($(GO) -C ../ops/tools tool -n buf) generate

# Benchmarks of the parts; and, where DISKS names the folder that mkvms made, the
# walk beside restic, borg and the straight line on the same disks in one run. ONLY
# chooses some of them; the figures are in WORK.json, too.
bench: bin/holdfast bin/straight
	$(GO) test -tags $(TAGS) -run xxx -bench . -benchtime 200x ./libs/... ./services/...
	@test -z "$(DISKS)" || $(GO) run ./loadtest/peers -disks $(DISKS) -work $(or $(WORK),/tmp/holdfast-peers) -json $(or $(WORK),/tmp/holdfast-peers).json $(if $(ONLY),-only $(ONLY))

# kill -9 of the whole house, again and again, while machines are backed up, changed
# and restored; then all of it is verified. SEED=7 chooses another load; kill is its
# small form.
KILLS   ?= 100
soak: bin/holdfast
	$(GO) run ./loadtest/soak -kills $(KILLS) $(if $(SEED),-seed $(SEED))

kill: KILLS = 20
kill: soak

# Machines by the thousand, of a source that computes them: 50 of them in a minute.
# What the house must bear (2 cores; each says its figures, -o json for a program):
#   make load LOAD='-machines 1000 -used 1GiB -size 4GiB -alike 0.5'    incremental of 1000, after a full of 1 TiB
#   make load LOAD='-machines 1000 -used 256MiB -rounds 1'              a first full of 1000 clones
#   make load LOAD='-machines 1000 -used 64MiB'; make load LOAD='-machines 5000 -used 64MiB'
#   make load LOAD='-machines 1 -size 2TiB -used 4GiB -split'           a large disk, each stage's memory
# -work and -staging choose where bytes lie; a change of 2 % of 64 MiB takes 2 MiB of
# vault a machine, with parity.
load: bin/holdfast
	$(GO) run ./loadtest/load $(LOAD)

# The whole house in virtual time, hurt by as many seeds as there is time for:
# make sim SEEDS=20000 for a night, SEED=17 for one again.
sim:
	SEEDS=$(or $(SEEDS),2000) SEED=$(SEED) $(GO) test -tags $(TAGS) -timeout 0 ./loadtest/sim

# What people ask the ledger, each question again and again, cold, warm and while rows
# come in; fails where the median takes more than 200 ms. ROWS=100000000 wants 5 GB in
# DATA, and 20 minutes on two cores.
questions:
	$(GO) run ./loadtest/questions -rows $(or $(ROWS),1000000) -data $(or $(DATA),/tmp/holdfast-questions) $(if $(ROWS),-history 365 -cold 5,-times 5 -cold 1 -history 20 -rate 20000)

# Seven days of 20,000 machines at four vCenters, in virtual time, and why each broken
# promise was broken: two CPU minutes. SEED=17 for another week.
fleet:
	FLEET=20000 DAYS=7 SEED=$(SEED) $(GO) test -tags $(TAGS) -timeout 0 -count 1 -v -run '^TestFleet$$' ./services/scheduler

clean:
	rm -rf bin
