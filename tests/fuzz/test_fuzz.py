"""Guided by what they reach in the code, fuzzers find nothing that breaks what reads from outside."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.properties import SEEDS, TARGETS

log = logging.getLogger(__name__)

SECONDS = int(os.environ.get("PROCESSOR_LIVE_TEST_FUZZ_SECONDS", "600"))
"""For all targets together."""
HUNG_SECONDS = 10
"""For one input."""
MAX_BYTES = 8_192


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found(target: str, tmp_path: Path) -> None:
    for number, seed in enumerate(SEEDS[target]):
        (tmp_path / f"seed-{number}").write_bytes(seed)
    options = {
        "max_total_time": SECONDS // len(TARGETS), "timeout": HUNG_SECONDS, "max_len": MAX_BYTES,
        "artifact_prefix": f"{tmp_path}/found-",
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).with_name("target.py")), target, str(tmp_path)]
    command += [f"-{name}={value}" for name, value in options.items()]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    assert ended.returncode == 0, ended.stderr[-5_000:]
    done = re.search(r"Done (\d+) runs in (\d+) second", ended.stderr)
    assert done, ended.stderr[-5_000:]
    log.info("fuzz.done target=%s executions=%s seconds=%s", target, *done.groups())
