# holdfast: one command for each thing a person wants.
#   make demo      back up and restore three machines, shown and checked
#   make test      every test, fetching what it needs
GO      ?= go
TAGS    := synctests
CACHE   ?= $(HOME)/.cache/holdfast
export HOLDFAST_CACHE := $(CACHE)

.PHONY: all build demo test race lint generate bench soak fuzz clean

all: lint test

build: bin/holdfast

bin/holdfast: $(shell find . -name '*.go' -not -path './ops/tools/*') go.mod go.sum
	$(GO) build -trimpath -o $@ ./services/holdfast

demo: bin/holdfast
	bin/holdfast demo

test: bin/holdfast
	$(GO) vet -tags $(TAGS) ./...
	$(GO) test -tags $(TAGS) ./...

race:
	$(GO) test -race -tags $(TAGS) ./...

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'gofmt would change these'; exit 1; }
	$(GO) vet -tags $(TAGS) ./...
	$(GO) tool -modfile=ops/tools/go.mod staticcheck -tags $(TAGS) ./...

# The generated code is committed; this is for whoever changes a message.
generate:
	cd schemas && $$($(GO) -C ../ops/tools tool -n buf) lint && $$($(GO) -C ../ops/tools tool -n buf) generate

clean:
	rm -rf bin
