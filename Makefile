.PHONY: setup demo test test-vm lint bench fixtures dist

setup:
	@scripts/setup

demo:
	@scripts/demo

test:
	@scripts/test

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
