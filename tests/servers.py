"""Which real Redis and Postgres do the tests run on?

Each is the first to be had of: a server given by URL, a container, a server found on the machine, an embedded one.
`PROCESSOR_LIVE_TEST_SERVERS` insists on one of these kinds.
"""

import gc
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extensions
import redis
from psycopg2.extras import Json
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.redis import RedisContainer
from testcontainers.core.docker_client import DockerClient

from processor_live_demo import embedded
from processor_live_demo.child import ServerError

Environment = Mapping[str, str]
# Runs a server and yields its URL. Raises UnavailableError.
Launcher = Callable[[Environment], AbstractContextManager[str]]

CHOICE = "PROCESSOR_LIVE_TEST_SERVERS"
KINDS = ("url", "containers", "machine", "embedded")


class UnavailableError(Exception):
    """This kind of server cannot be had; the message says why in one line."""


class AbsentError(UnavailableError):
    """Nobody offers this kind of server here, so passing over it is no news."""


@dataclass(frozen=True)
class Server:
    """A running server of the test session."""

    url: str
    kind: str
    """One of KINDS."""
    version: str
    passed_over: tuple[str, ...] = ()
    """One line for each kind that looked promising and failed."""


class Servers:
    """The servers of one test session, each started when it is first asked for."""

    def __init__(self, environment: Environment) -> None:
        """Raise UnavailableError when the environment asks for a kind that does not exist."""
        choice = environment.get(CHOICE) or "auto"
        if choice not in ("auto", *KINDS):
            raise UnavailableError(f"{CHOICE}={choice}: allowed are auto, {', '.join(KINDS)}")
        self._kinds = KINDS if choice == "auto" else (choice,)
        self._environment = environment
        self._stack = ExitStack()
        self._started: dict[str, Server] = {}

    def start(self, name: str) -> Server:
        """Return the running server of a name in LAUNCHERS. Raises UnavailableError when no allowed kind can be had."""
        if name not in self._started:
            self._started[name] = self._first(name)
        return self._started[name]

    def _first(self, name: str) -> Server:
        reasons: list[str] = []
        passed_over: list[str] = []
        for kind in self._kinds:
            try:
                url = self._stack.enter_context(LAUNCHERS[name][kind](self._environment))
                return Server(url, kind, VERSIONS[name](url), tuple(passed_over))
            except AbsentError as error:
                reasons.append(f"{kind}: {error}")
            except UnavailableError as error:
                reasons.append(f"{kind}: {error}")
                passed_over.append(f"{name} not from {kind}: {error}")
                if kind == "url":
                    break  # whoever names a server means that one
            _forget_sockets()
        raise UnavailableError(f"no {name} for the tests; {'; '.join(reasons)}")

    def close(self) -> None:
        """Stop what was started."""
        self._stack.close()


def _given(key: str) -> Launcher:
    @contextmanager
    def launch(environment: Environment) -> Iterator[str]:
        if not environment.get(key):
            raise AbsentError(f"{key} is not set")
        yield environment[key]

    return launch


@contextmanager
def _redis_in_a_container(environment: Environment) -> Iterator[str]:
    _require_engine()
    container = RedisContainer(environment.get("PROCESSOR_LIVE_TEST_REDIS_IMAGE") or "redis:7-alpine")
    with _running(container):
        yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}/0"


@contextmanager
def _postgres_in_a_container(environment: Environment) -> Iterator[str]:
    _require_engine()
    image = environment.get("PROCESSOR_LIVE_TEST_POSTGRES_IMAGE") or "postgres:16-alpine"
    container = PostgresContainer(image, driver=None)
    with _running(container):
        yield container.get_connection_url()


def _require_engine() -> None:
    try:
        with closing(DockerClient().client) as client:
            client.ping()
    except Exception as error:  # the engine's client raises whatever its transport does
        raise AbsentError(f"no container engine answers: {_one_line(error)}") from error


@contextmanager
def _running(container: RedisContainer | PostgresContainer) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(container)
        except Exception as error:  # no image, no registry, no port, no reaper: each comes as another type
            raise UnavailableError(f"{container.image} does not start: {_one_line(error)}") from error
        yield


@contextmanager
def _redis_of_the_machine(_: Environment) -> Iterator[str]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise AbsentError("neither redis-server nor valkey-server is on PATH")
    with _launched(embedded.valkey, Path(program)) as url:
        yield url


@contextmanager
def _postgres_of_the_machine(_: Environment) -> Iterator[str]:
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    for folder in (None, *debian):
        initdb = shutil.which("initdb", path=folder)
        if initdb and shutil.which("postgres", path=Path(initdb).resolve().parent):
            with _launched(embedded.postgres, Path(initdb).resolve().parents[1]) as url:
                yield url
            return
    raise AbsentError("initdb and postgres are neither on PATH nor in /usr/lib/postgresql/*/bin")


def _embedded(launch: Callable[[Path], AbstractContextManager[str]]) -> Launcher:
    return lambda _: _launched(launch, None)


@contextmanager
def _launched(launch: Callable[[Path], AbstractContextManager[str]], program: Path | None) -> Iterator[str]:
    """Run one of the demo's servers, with a program of the machine instead of the packaged one if there is one."""
    with tempfile.TemporaryDirectory(prefix="processor-live-tests-") as directory, ExitStack() as stack:
        try:
            with _instead_of_the_packaged(program):
                url = stack.enter_context(launch(Path(directory)))
        except ServerError as error:
            raise UnavailableError(_one_line(error)) from error
        yield url


def _instead_of_the_packaged(program: Path | None) -> AbstractContextManager[object]:
    """Let the demo's launchers find this program; only while one starts: the demo's own tests need the others."""
    return patch.object(embedded, "_packaged", lambda *_: program) if program else nullcontext()


@contextmanager
def spare_redis(directory: Path, *, port: int = 0) -> Iterator[str]:
    """Run one more Redis and yield its URL: the machine's, where the tests insist on that, or the packaged one."""
    program = shutil.which("redis-server") if os.environ.get(CHOICE) == "machine" else None
    with ExitStack() as stack:
        with _instead_of_the_packaged(Path(program) if program else None):
            url = stack.enter_context(embedded.valkey(directory, port=port))
        yield url


def _forget_sockets() -> None:
    """Collect what the engine's client left open in a failed attempt, before a test gets the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _redis_version(url: str) -> str:
    try:
        with closing(redis.Redis.from_url(url)) as client:
            facts: Any = client.info("server")
    except (redis.RedisError, ValueError) as error:
        raise UnavailableError(_one_line(error)) from error
    return f"Valkey {facts['valkey_version']}" if "valkey_version" in facts else f"Redis {facts['redis_version']}"


def _postgres_version(url: str) -> str:
    try:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            [[version]] = cursor.fetchall()
    except psycopg2.Error as error:
        raise UnavailableError(_one_line(error)) from error
    return f"Postgres {version.split()[0]}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


LAUNCHERS: Mapping[str, Mapping[str, Launcher]] = {
    "Redis": {
        "url": _given("PROCESSOR_LIVE_TEST_REDIS_URL"),
        "containers": _redis_in_a_container,
        "machine": _redis_of_the_machine,
        "embedded": _embedded(embedded.valkey),
    },
    "Postgres": {
        "url": _given("PROCESSOR_LIVE_TEST_POSTGRES_URL"),
        "containers": _postgres_in_a_container,
        "machine": _postgres_of_the_machine,
        "embedded": _embedded(embedded.postgres),
    },
}
VERSIONS: Mapping[str, Callable[[str], str]] = {"Redis": _redis_version, "Postgres": _postgres_version}


class Database:
    """The tables of contract section 6.2 in a database of the tests' own. Ids are uuids as text."""

    def __init__(self, url: str) -> None:
        """Connect; every statement commits by itself."""
        self.url = url
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        # a test that leaves a transaction open must not hang the next one's TRUNCATE
        self.execute("SET lock_timeout = '5s'")

    @staticmethod
    @contextmanager
    def created_on(server_url: str) -> Iterator[str]:
        """Create a database with the demo's tables on a server, yield its URL, drop it."""
        name = f"processor_live_test_{uuid.uuid4().hex}"
        with closing(Database(server_url)) as server:
            server.execute(f"CREATE DATABASE {name}")
        try:
            url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
            with closing(Database(url)) as database:
                schema = resources.files("processor_live_demo") / "schema.sql"
                database.execute(schema.read_text(encoding="utf-8"))
            yield url
        finally:
            with closing(Database(server_url)) as server:  # another one: the server may have been restarted
                server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def execute(self, sql: str, params: tuple[object, ...] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement with `%s` parameters and return its rows, none if it returns nothing."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params or None)
            return cursor.fetchall() if cursor.description else []

    def clear(self) -> None:
        """Empty all tables."""
        tables = self.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        self.execute(f"TRUNCATE {', '.join(table for [table] in tables)}")

    def add_event(self) -> str:
        """Add an event and return its id."""
        event = str(uuid.uuid4())
        self.execute("INSERT INTO events (id, organization_id) VALUES (%s, %s)", (event, str(uuid.uuid4())))
        return event

    def add_entry(self, event: str) -> str:
        """Add an entry (a crew) to an event and return the entry's id."""
        entry = str(uuid.uuid4())
        self.execute("INSERT INTO entries (id, event_id) VALUES (%s, %s)", (entry, event))
        return entry

    def add_device(self, imei: str) -> str:
        """Add a device and return its id, which is not its IMEI."""
        device = str(uuid.uuid4())
        self.execute("INSERT INTO devices (id, imei) VALUES (%s, %s)", (device, imei))
        return device

    def add_registration(self, entry: str, device: str) -> str:
        """Give a device to an entry and return the registration's id."""
        registration = str(uuid.uuid4())
        self.execute(
            "INSERT INTO entry_devices (id, entry_id, device_id) VALUES (%s, %s, %s)", (registration, entry, device)
        )
        return registration

    def register(self, event: str, *imeis: str) -> None:
        """Let devices take part in an event, each with an entry of its own; unknown devices are added."""
        for imei in imeis:
            known = self.execute("SELECT id::text FROM devices WHERE imei = %s", (imei,))
            self.add_registration(self.add_entry(event), known[0][0] if known else self.add_device(imei))

    def add_position(
        self,
        imei: str,
        ts: datetime,
        latitude: float = 41.33,
        longitude: float = 19.82,
        *,
        altitude: float = 110.0,
        angle: float = 0.0,
        speed: float = 0.0,
        satellites: int = 9,
        priority: int = 0,
        codec: str = "8E",
        attributes: Mapping[str, object] | None = None,
        faulty: bool = False,
    ) -> None:
        """Add a row of the history; `ts` is aware, the units are those of the contract."""
        self.execute(
            "INSERT INTO positions (device_id, ts, latitude, longitude, altitude, angle, speed, satellites, priority,"
            " codec, attributes, faulty) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(imei, ts, latitude, longitude, altitude, angle, speed, satellites, priority, codec),
                *(Json(dict(attributes or {})), faulty),
            ),
        )
