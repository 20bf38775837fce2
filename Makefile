# Each command does all of its own set-up, into .tools/.

help:  ## this list
	@sed -n 's/^\([a-z]*\): *## /make \1	/p' Makefile | expand -t 13

demo:  ## the whole picture on loopback: Envoy, an identity provider, a sample API, Gatelodge
	@go run ./internal/dev setup envoy
	@echo "demo: building Gatelodge (minutes when nothing is cached)" >&2
	@go build -o .tools/bin/gatelodge ./cmd/gatelodge
	@exec .tools/bin/gatelodge demo

test:  ## all tests, against the real parts
	@go run ./internal/dev test

prove: ## the proofs that are too long for every run, at full size; prints what they measured
	@go run ./internal/dev prove

bench: ## what a check costs, beside a server that says yes to everything
	@go run ./internal/dev setup envoy
	@go run ./internal/bench -write

build: ## the binary
	go build -trimpath -o gatelodge ./cmd/gatelodge

clean: ## removes what the commands above made
	rm -rf .tools gatelodge

.PHONY: help demo test prove bench build clean
