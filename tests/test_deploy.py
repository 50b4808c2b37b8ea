"""Do the limits of the configurations in `deploy/` fit the service's own, and do its commands do what they should?"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from processor_live.app import make_app
from processor_live.connection import GOODBYE_SECONDS
from processor_live.endpoint import GOODBYES_PER_SECOND
from processor_live.settings import SETTINGS, Settings, load
from processor_live.workers import GRACE_SECONDS

DEPLOY = Path(__file__).parent.parent / "deploy"
README = (DEPLOY / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def settings() -> Settings:
    """What an operator has who sets nothing."""
    return load(Settings, {})


def number(name: str, setting: str) -> int:
    """Return what a configuration says, once."""
    (said,) = re.findall(rf"^\s*{setting}[ =](\d+);?$", (DEPLOY / name).read_text(encoding="utf-8"), re.MULTILINE)
    return int(said)


def test_one_worker_of_nginx_can_have_all_viewers(settings: Settings) -> None:
    connections = number("nginx.conf", "worker_connections")
    assert 2 * settings.max_connections < connections < number("nginx.conf", "worker_rlimit_nofile")


def test_systemd_lets_the_service_have_all_its_viewers_and_say_goodbye_to_them(settings: Settings) -> None:
    assert number("processor-live.service", "LimitNOFILE") > settings.max_connections
    assert number("processor-live.service", "TimeoutStopSec") > settings.drain_timeout_ms / 1000 + GRACE_SECONDS


def test_the_units_environment_starts_the_service_where_only_this_host_reaches_it() -> None:
    lines = (DEPLOY / "processor-live.env").read_text(encoding="utf-8").splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings = make_app(environ)[SETTINGS]
    assert (settings.ws_host, settings.metrics_host) == ("127.0.0.1", "127.0.0.1")


def test_the_time_that_a_gentle_stop_needs_is_what_the_service_takes(settings: Settings) -> None:
    rule = r"`LIVE_WS_DRAIN_TIMEOUT_MS` to (\d+) \+ (\d+) . the\sviewers of a process \(5,000: (\d+); .* for (\d+)\)"
    ((last_ms, each_ms, of_5000_ms, by_default),) = [map(int, found) for found in re.findall(rule, README)]
    assert (last_ms, each_ms) == (GOODBYE_SECONDS * 1000, 1000 / GOODBYES_PER_SECOND)
    assert of_5000_ms == last_ms + 5_000 * each_ms
    assert settings.drain_timeout_ms == last_ms + by_default * each_ms


def test_the_commands_of_a_rolling_restart_wait_for_one_instance_before_they_touch_the_next(tmp_path: Path) -> None:
    (commands,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    done = tmp_path / "done"
    for program, status in {"systemctl": "", "curl": f"[ $(grep -c . {done}) -gt 4 ]", "sleep": ""}.items():
        stand_in = tmp_path / program
        stand_in.write_text(f'#!/bin/sh\necho {program} "$@" >>{done}\n{status}\n', encoding="utf-8")
        stand_in.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-euc", commands], check=True, env=environ, timeout=20)  # noqa: S607 - wherever the system has it
    asked = "curl -fsS -o /dev/null http://127.0.0.1:909{}/readyz"
    assert done.read_text(encoding="utf-8").splitlines() == [
        "systemctl stop processor-live@1",
        "sleep 1",
        "systemctl start processor-live@1",
        asked.format(1),
        "sleep 1",
        asked.format(1),
        "systemctl stop processor-live@2",
        "sleep 1",
        "systemctl start processor-live@2",
        asked.format(2),
    ]
