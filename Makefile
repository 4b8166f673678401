# `make` lists the targets.
.PHONY: help build test race lint fuzz cross interop bench ci

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 10

build: ## the binary, as bin/fanfold
	CGO_ENABLED=0 go build -trimpath -o bin/fanfold ./cmd/fanfold

test: ## all tests
	go test ./...

race: ## all tests under the race detector
	go test -race ./...

lint: ## formatting, vet, staticcheck
	bash .ci/run build lint

fuzz: ## every fuzz target for five seconds
	bash .ci/run fuzz

cross: ## build for linux, darwin and windows on amd64 and arm64
	bash .ci/run cross

interop: ## the other languages' clients, with part of Go's source tree
	bash interop/run.sh --quick

bench: ## Fanfold, Kafka, JetStream and the floor side by side: bench/RESULTS.md
	go run ./bench/compare

ci: ## everything that must hold before a change is taken
	bash .ci/run
