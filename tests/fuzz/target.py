"""python target.py TARGET [what libFuzzer takes] looks for bytes that make a property of this folder false."""

import sys
from pathlib import Path

import atheris

sys.path.append(str(Path(__file__).parents[2]))  # for `tests`; last: what is fuzzed is what is installed
with atheris.instrument_imports():
    from tests.fuzz.properties import TARGETS

program, target, *options = sys.argv
atheris.Setup([program, *options], TARGETS[target])
atheris.Fuzz()
