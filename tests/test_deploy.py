"""Do the limits of the configurations in `deploy/` fit the service's own?"""

import re
from pathlib import Path

import pytest

from processor_live.settings import Settings, load
from processor_live.workers import GRACE_SECONDS

DEPLOY = Path(__file__).parent.parent / "deploy"


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
