# Everything works from a fresh clone: each target first sets up what it needs, once, in .venv, .venv-scanners and
# .venv-docs (see scripts/setup).
# Only relative paths here, so that the folder's own path may hold spaces.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: setup setup-demo setup-test
setup: setup-test ## Install everything for development into .venv, and what is missing on Debian as root
setup-demo:
	@scripts/setup demo
setup-test:
	@scripts/setup test
# Asked for both at once, the larger one comes first: with `make -j` two pips would write into one environment.
ifneq (,$(filter setup setup-test test test-browser lint scan docs unit contract e2e,$(MAKECMDGOALS)))
setup-demo: setup-test
endif

.PHONY: demo
demo: setup-demo ## Ship the example to an AWS that runs on this machine, twice
	@scripts/demo

# A test file stays with one worker, in order: the e2e files each tell a story on a sandbox of their own. They wait more than
# they compute (the AWS provider sleeps), hence four workers on two cores, and the longest story goes first.
PARALLEL := -n 4 --dist loadfile --no-loadscope-reorder
LONGEST := tests/e2e/test_permissions.py tests/e2e

.PHONY: test
test: lint scan ## Everything CI checks: lint, the security scanners, then all tests
	@scripts/tests $(LONGEST) tests $(PARALLEL)

.PHONY: test-browser
test-browser: setup-test ## The page of `orch board` in headless Chromium, with axe-core; both are set up where they are missing
	@scripts/setup-browser
	@ORCH_REQUIRE_BROWSER=1 ORCH_AXE=.venv/node_modules/axe-core scripts/tests tests/contract/test_board_browser.py

.PHONY: soak
soak: setup-test ## Every point, seed and example of the tests of which `make test` tries a part
	@ORCH_SOAK=1 scripts/tests tests/e2e/test_kill.py tests/contract/test_faults.py tests/unit/test_rollout_properties.py $(PARALLEL)

.PHONY: lint
lint: setup-test ## Ruff, mypy, import contracts, Terraform's formatting
	@scripts/lint

.PHONY: scan
scan: setup-test ## Security scanners over Terraform and the workflows: checkov, trivy, zizmor
	@$(BIN)/python scripts/scan

.PHONY: docs
docs: setup-test ## The documentation as a site, in site/: built strictly, every link checked
	@scripts/docs-site

.PHONY: unit contract e2e
unit: setup-test ## Tests of pure functions
	@scripts/tests tests/unit
contract: setup-test ## Tests against real Terraform, real registries and the sandbox
	@scripts/tests tests/contract $(PARALLEL)
e2e: setup-test ## Tests through the command orch
	@scripts/tests $(LONGEST) $(PARALLEL)

.PHONY: bench
bench: setup-demo ## Measure orch side by side with plain Terraform
	@for script in bench/*.py; do echo "\$$ $(BIN)/python $$script"; $(BIN)/python "$$script" || exit; done

.PHONY: sandbox-down
sandbox-down: ## Stop the sandbox that `make demo` leaves running
	@if [ -x $(BIN)/orch ]; then $(BIN)/orch sandbox down; fi

.PHONY: clean
clean: sandbox-down ## Stop the sandbox and remove what was set up or built in this folder
	@rm -rf .venv .venv-scanners .venv-docs site dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@$(MAKE) --no-print-directory -C examples/hello clean
