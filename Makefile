.PHONY: setup demo test promises test-vm lint bench fixtures dist

setup:
	@scripts/setup

demo:
	@scripts/demo

test:
	@scripts/test

promises:
	@scripts/promises

test-vm:
	@scripts/test-vm

lint:
	@scripts/lint

bench:
	@scripts/bench

fixtures:
	@scripts/fixtures

dist:
	@scripts/dist
