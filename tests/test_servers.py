"""Are the servers of the tests, and the versions they run with, what the tests take them for?"""

import os
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from redis.asyncio import Redis

from tests import servers
from tests.servers import AbsentError, Database, Environment, Servers, UnavailableError

ROOT = Path(__file__).parents[1]
COLUMNS = {
    "positions": {
        "device_id": "text",
        "ts": "timestamp with time zone",
        "ingested_at": "timestamp with time zone",
        "latitude": "double precision",
        "longitude": "double precision",
        "altitude": "real",
        "angle": "real",
        "speed": "real",
        "satellites": "smallint",
        "priority": "smallint",
        "codec": "text",
        "attributes": "jsonb",
        "faulty": "boolean",
    },
    "devices": {"id": "uuid", "imei": "text"},
    "entry_devices": {"id": "uuid", "entry_id": "uuid", "device_id": "uuid"},
    "entries": {"id": "uuid", "event_id": "uuid"},
    "events": {"id": "uuid", "organization_id": "uuid"},
}


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_starts_with_empty_tables(database: Database, turn: int) -> None:
    for table in COLUMNS:
        assert database.execute(f"SELECT 1 FROM {table} LIMIT 1") == [], f"turn {turn}: {table}"  # noqa: S608  # ours
    database.register(database.add_event(), "350000000000001", "350000000000002")
    database.add_position("350000000000001", datetime.now(UTC), faulty=True)
    assert database.execute("SELECT faulty FROM positions") == [(True,)]


@pytest.mark.parametrize("table", COLUMNS)
def test_columns_have_the_deployed_types(database: Database, table: str) -> None:
    """A device id that is a uuid here and text there once emptied every map (docs/contract.md section 6.2)."""
    found = database.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s", (table,)
    )
    assert dict(found) == COLUMNS[table]


def test_a_device_in_two_events_is_one_device(database: Database) -> None:
    for _ in range(2):
        database.register(database.add_event(), "350000000000001")
    assert database.execute("SELECT count(*) FROM devices") == [(1,)]
    assert database.execute("SELECT count(DISTINCT event_id) FROM entries") == [(2,)]


@pytest.fixture(scope="module")
def earlier_streams() -> list[str]:
    return []


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_has_a_stream_of_its_own(
    redis: Redis, stream: str, earlier_streams: list[str], turn: int
) -> None:
    group = f"live-{stream[-8:]}"
    keys = [stream, f"{stream}:key", f"{group}:alive"]
    assert not await redis.exists(*keys, *earlier_streams), f"turn {turn}"
    await redis.xgroup_create(stream, group, mkstream=True)
    for key in keys[1:]:
        await redis.set(key, "goes with the stream")
    earlier_streams += keys


@pytest.fixture
def chances(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | UnavailableError]:
    """What each kind of Redis does when it is tried: yields a URL, or raises; nothing is started."""
    outcomes: dict[str, str | UnavailableError] = {kind: AbsentError("none here") for kind in servers.KINDS}

    def launcher(kind: str) -> servers.Launcher:
        @contextmanager
        def launch(_: Environment) -> Iterator[str]:
            outcome = outcomes[kind]
            if isinstance(outcome, UnavailableError):
                raise outcome
            yield outcome

        return launch

    launchers: Mapping[str, servers.Launcher] = {kind: launcher(kind) for kind in servers.KINDS}
    monkeypatch.setattr(servers, "LAUNCHERS", {"Redis": launchers})
    monkeypatch.setattr(servers, "VERSIONS", {"Redis": str.upper})
    return outcomes


def test_servers_are_tried_in_order(chances: dict[str, str | UnavailableError]) -> None:
    chances["embedded"] = "redis://embedded"
    assert Servers({}).start("Redis") == servers.Server("redis://embedded", "embedded", "REDIS://EMBEDDED")
    chances["machine"] = "redis://machine"
    assert Servers({}).start("Redis").kind == "machine"
    chances["containers"] = "redis://container"
    assert Servers({}).start("Redis").kind == "containers"
    chances["url"] = "redis://given"
    assert Servers({}).start("Redis").kind == "url"


def test_an_engine_without_the_image_is_passed_over_and_named(chances: dict[str, str | UnavailableError]) -> None:
    chances |= {"containers": UnavailableError("no image"), "embedded": "redis://embedded"}
    assert Servers({}).start("Redis").passed_over == ("Redis not from containers: no image",)


def test_a_choice_is_not_passed_over(chances: dict[str, str | UnavailableError]) -> None:
    chances["embedded"] = "redis://embedded"
    for kind in ("url", "containers", "machine"):
        with pytest.raises(UnavailableError, match=f"no Redis for the tests; {kind}: none here"):
            Servers({servers.CHOICE: kind}).start("Redis")


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(UnavailableError, match="PROCESSOR_LIVE_TEST_SERVERS=docker: allowed are auto, url, containers"):
        Servers({servers.CHOICE: "docker"})


@pytest.mark.parametrize("name", ["Redis", "Postgres"])
def test_a_given_url_that_does_not_answer_is_not_passed_over(name: str) -> None:
    """Nor is its password told."""
    scheme = {"Redis": "redis", "Postgres": "postgresql"}[name]
    environment = {f"PROCESSOR_LIVE_TEST_{name.upper()}_URL": f"{scheme}://user:secret@127.0.0.1:1/0"}
    with pytest.raises(UnavailableError, match=f"no {name} for the tests; url: .*refused") as refused:
        Servers(environment).start(name)
    assert "secret" not in str(refused.value)


def lowest(section: str, key: str, path: str) -> list[str]:
    file = ConfigParser(interpolation=None)
    file.read(ROOT / path, encoding="utf-8")
    return [line for line in file[section][key].splitlines() if line and not line.startswith("#")]


def test_the_lowest_versions_are_those_of_setup_cfg() -> None:
    bounds = lowest("options", "install_requires", "setup.cfg") + lowest("options.extras_require", "demo", "setup.cfg")
    assert lowest("testenv:lowest", "deps", "tox.ini") == [bound.replace(">=", "==") for bound in bounds]


@pytest.mark.parametrize("pin", lowest("testenv:lowest", "deps", "tox.ini"))
def test_installed_versions_are_the_lowest_or_newer(pin: str) -> None:
    requirement = Requirement(pin)
    installed = Version(version(requirement.name))
    bound = Version(next(iter(requirement.specifier)).version)
    assert installed == bound if os.environ.get("TOX_ENV_NAME") == "lowest" else installed >= bound
