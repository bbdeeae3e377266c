# What weir needs is Go and make. `make help` lists the targets.

MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c

ARGS     ?=
FUZZTIME ?= 30s

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/weir
	go build -o bin/weir ./cmd/weir

.PHONY: lab
lab: build ## Start the whole CDN on this machine; flags go in ARGS="..."
	@exec bin/weir lab $(ARGS)

# What takes longest begins first, so that no processor waits for it at the end.
LONG := ./storage/disk ./internal/scenario ./cmd/weir

# The race detector needs cgo, and cgo a C compiler that works: building Go's
# own cgo package with both shows whether they are there.
.PHONY: test
test: ## Run all tests, with the race detector where there is a C compiler
	@race=-race; \
	if ! go build -race runtime/cgo >/dev/null 2>&1; then \
		echo "make test: no C compiler that works here, so the race detector is off"; \
		race=; export CGO_ENABLED=0; \
	fi; \
	echo "go test $$race -timeout 9m $(LONG) ./..."; \
	go test $$race -timeout 9m $(LONG) ./... && \
	go test -tags planted -run TestPlanted ./internal/scenario

# Scripts that seeds draw, in the scenarios' cluster: what readers see is checked
# against what was purged. First the builds with a bug each, which it must find.
SEEDS ?= 10000

.PHONY: simulate
simulate: ## Play SEEDS (10000) drawn scripts against the promises about purges
	go test -tags planted -count 1 -timeout 15m -run TestPlanted ./internal/scenario ./cmd/weir
	go test -count 1 -timeout 3h -run TestSimulation ./internal/scenario -seeds $(SEEDS) -seed $(or $(SEED),1)

.PHONY: lint
lint: ## Check the format, and run go vet and staticcheck
	@unformatted=$$("$$(go env GOROOT)/bin/gofmt" -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (30s)
	@list=$$(go test -list '^Fuzz' ./...) || { echo "$$list"; exit 1; }; \
	echo "$$list" | awk '/^Fuzz/ { name[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, name[i]; n = 0 }' | \
	while read -r package target; do \
		echo "$$package $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null || exit 1; \
	done

.PHONY: bench
bench: ## Run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: minio
minio: .cache/bin/minio ## Build MinIO, which the tests then use too (minutes, once)

.cache/bin/minio:
	GOBIN="$(CURDIR)/.cache/bin" go install github.com/minio/minio@$(MINIO_VERSION)

# The suite's npm version, whose files the lock names exactly. SUITE=DIR is for
# a checkout of its repository, which has more tests and is not a part of this.
NPM_SUITE := .cache/conformance/node_modules/http-cache-tests

.PHONY: conformance
conformance: $(if $(SUITE),,.cache/conformance/installed) ## Run the public HTTP cache suite against weir (needs Node.js 20.18 and npm)
	go run ./internal/conformance -suite "$(or $(SUITE),$(NPM_SUITE))" -details .cache/conformance $(ARGS)

.PHONY: conformance-peers
conformance-peers: ## Show the last run of SUITE=DIR beside the other caches' results that DIR has
	go run ./internal/conformance -suite "$(SUITE)" -details .cache/conformance -peers

.cache/conformance/installed: testdata/conformance/package.json testdata/conformance/package-lock.json
	mkdir -p .cache/conformance
	cp testdata/conformance/package.json testdata/conformance/package-lock.json .cache/conformance/
	cd .cache/conformance && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

.PHONY: clean
clean: ## Remove what the other targets built, MinIO too
	rm -rf bin .cache
