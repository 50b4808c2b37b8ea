"""An operator sees the same in the log, in the metrics and in `/readyz`."""

import asyncio
import logging

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor_live.health import DOUBT_SECONDS, Health, make_health_app
from tests.core.wire import metric
from tests.running import until


def test_a_change_is_logged_once_with_the_problem(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    check = Health().check("stream")
    check.good()
    check.failing("no answer from Redis")
    check.failing("still no answer")
    check.good()
    check.good()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "check.failing check=stream problem='no answer from Redis'"),
        ("INFO", "check.good check=stream"),
    ]


def test_a_problem_from_the_start_is_logged_when_it_turns_out_to_be_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    check = Health().check("routes", problem="not loaded yet")
    assert caplog.records == []
    check.failing("no answer from Postgres")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_what_fails_every_other_time_is_failing_and_a_few_lines_say_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    check = Health().check("stream")
    for _ in range(1_000):
        check.failing("no answer")
        check.good()
    assert check.problem == "no answer"
    assert [record.message.split()[0] for record in caplog.records] == ["check.failing", "check.good", "check.failing"]


async def test_who_has_failed_again_and_again_is_good_when_it_has_been_well_for_longer_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("processor_live.health.DOUBT_SECONDS", (0.05, 3_600))
    check, loop = Health().check("stream"), asyncio.get_running_loop()
    for doubt_s in (0, 0.05, 0.1, 0.2):
        check.failing("no answer")
        began = loop.time()
        check.good()
        assert (check.problem is None) == (not doubt_s), "the first time it is believed at once"
        await until(lambda: check.problem is None)
        assert loop.time() - began >= doubt_s - 0.001, "less what the clock is coarse"


def test_who_has_been_good_for_long_is_believed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("processor_live.health.time.monotonic", lambda: now)
    check = Health().check("stream")
    for _ in range(3):
        check.failing("no answer")
        check.good()
        assert check.problem is None
        now += DOUBT_SECONDS[1]


def test_the_metric_is_one_while_the_check_is_good() -> None:
    check = Health().check("metered", problem="not loaded yet")
    seen = [metric("live_check", check="metered")]
    for change in (check.good, lambda: check.failing("broken"), lambda: check.failing("broken"), check.good):
        change()
        seen.append(metric("live_check", check="metered"))
    assert seen == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("critical", "other", "draining", "status"),
    [
        (None, None, False, "ready"),
        (None, "slow", False, "degraded"),
        ("down", None, False, "unready"),
        ("down", "slow", False, "unready"),
        (None, None, True, "draining"),
        ("down", "slow", True, "draining"),
    ],
)
async def test_readiness_is_the_worst_of_the_checks(
    critical: str | None,
    other: str | None,
    draining: bool,  # noqa: FBT001 - a row of the table
    status: str,
) -> None:
    health = Health()
    health.check("stream", critical=True, problem=critical)
    health.check("snapshot", problem=other)
    health.draining = draining
    async with TestClient(TestServer(make_health_app(health))) as browser, browser.get("/readyz") as response:
        assert response.status == (200 if status in {"ready", "degraded"} else 503)
        assert await response.json() == {
            "status": status,
            "checks": {"stream": critical or "good", "snapshot": other or "good"},
        }


async def test_the_latest_problem_is_the_one_shown() -> None:
    health = Health()
    check = health.check("stream")
    check.failing("first")
    check.failing("second")
    async with TestClient(TestServer(make_health_app(health))) as browser, browser.get("/readyz") as response:
        assert (await response.json())["checks"] == {"stream": "second"}


async def test_the_process_is_alive_and_measured_however_ready_it_is() -> None:
    health = Health()
    health.check("stream", critical=True, problem="down")
    async with TestClient(TestServer(make_health_app(health))) as browser:
        async with browser.get("/healthz") as response:
            assert response.status == 200
        async with browser.get("/metrics") as response:
            assert response.status == 200
            assert 'live_check{check="stream"} 0.0' in await response.text()
