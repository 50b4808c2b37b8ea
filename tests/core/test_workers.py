"""Who watches over the workers does not end because one of them cannot be started."""

import asyncio
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from processor_live import workers
from processor_live.settings import Settings, load
from processor_live.workers import Workers
from tests.running import Diary, keeping_a_diary

ENVIRON = {"LIVE_WS_HOST": "127.0.0.1", "LIVE_WS_PORT": "0", "METRICS_PORT": "0"}


async def started(diary: Diary) -> int:
    """Wait for the next worker, and return its pid."""
    found = re.search(r"pid=(\d+)", await diary.line("worker.started"))
    assert found
    return int(found[1])


async def test_a_worker_that_cannot_be_started_is_tried_again_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, away = tmp_path / "worker", tmp_path / "away"
    program.symlink_to(shutil.which("cat") or "")  # it ends with its stdin, which is the lifeline
    monkeypatch.setattr(workers, "COMMAND", (str(program),))
    monkeypatch.setattr(workers, "PAUSE_SECONDS", (0.01, 0.1))
    with keeping_a_diary() as diary:
        running = asyncio.create_task(Workers(2, load(Settings, ENVIRON), ENVIRON).run())
        first, second = await started(diary), await started(diary)
        program.rename(away)
        os.kill(first, signal.SIGKILL)
        await diary.line("worker.died")
        line = await diary.line("worker.not_started")
        assert 'worker=0 error="FileNotFoundError: ' in line
        assert "again_in_s=" in line
        away.rename(program)
        await started(diary)
        os.kill(second, 0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0


async def test_a_stop_while_no_worker_can_be_started_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "COMMAND", ("/nowhere",))
    with keeping_a_diary() as diary:
        running = asyncio.create_task(Workers(1, load(Settings, ENVIRON), ENVIRON).run())
        await diary.line("worker.not_started")
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0
