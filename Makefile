# The two commands of the README. All they make is in .venv and .tox; they need Python 3.11 or later and nothing else.
.PHONY: help demo test clean

help:
	@echo "make demo   the live channel on real servers with a simulated rally; Ctrl-C ends it"
	@echo "make test   lint, types, import boundaries, and all tests on every Python 3.11 to 3.13 found here"
	@echo "make clean  remove what the two have made"

demo: .venv/demo
	@exec .venv/bin/python -m processor_live_demo

test: .venv/tox
	@PATH="$(SEARCHED)" exec .venv/bin/tox run

clean:
	@rm -rf .venv .tox .hypothesis .*_cache build plugins/*.egg-info client/node_modules

.venv/demo: setup.cfg | .venv/bin/python
	@echo "installing the service and its demo into .venv, once"
	@.venv/bin/python -m pip install -qq --disable-pip-version-check --editable '.[demo]'
	@touch $@

.venv/tox: tox.ini | .venv/bin/python
	@echo "installing tox into .venv, once"
	@.venv/bin/python -m pip install -qq --disable-pip-version-check 'tox>=4.30'
	@touch $@

.venv/bin/python:
	@$(if $(PYTHON),,$(error needs a Python 3.11 or later that can make virtual environments: none of python3, \
	python3.13, python3.12, python3.11 is one (Debian and Ubuntu: apt-get install python3-venv)))$(PYTHON) -m venv --clear .venv

# pyenv's Pythons come last: its shims are on PATH but answer only for the versions that are switched on
SEARCHED = $$PATH$$(printf ':%s' "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/*/bin)
PYTHON = $(shell PATH="$(SEARCHED)"; for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	command -v $$python && break; done)
