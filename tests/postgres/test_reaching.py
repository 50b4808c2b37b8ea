"""Postgres is reached at whichever of its host's addresses lives; where it is not, that is told without a secret."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Container, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from processor_live import StartError, one_line
from processor_live_demo.embedded import free_port
from tests.postgres.conftest import MakeDatabase
from tests.running import EVENTUALLY_SECONDS, app_with, until


def with_host(url: str, host: str, port: int, query: str = "") -> str:
    """Return a URL with another host and port."""
    user = urlsplit(url).netloc.rpartition("@")[0]
    return urlsplit(url)._replace(netloc=f"{user}@{host}:{port}" if user else f"{host}:{port}", query=query).geturl()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def listening(serve: Serve, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Listen at this address only, and yield the port; in the end, wait until all who connected have hung up."""
    conversations: list[asyncio.Task[None]] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        while await reader.read(65_536):
            pass
        writer.close()
        await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.append(asyncio.create_task(converse(reader, writer)))

    async with await asyncio.start_server(accept, address, port) as server:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(EVENTUALLY_SECONDS):
            await asyncio.gather(*conversations)


@asynccontextmanager
async def relay_to(url: str, flowing: asyncio.Event | None = None) -> AsyncIterator[int]:
    """Let a port of 127.0.0.1, and of no other address, lead to a server; what comes must wait until it is flowing."""
    there = urlsplit(url)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if flowing is not None:
                await flowing.wait()
            writer.write(data)
        with contextlib.suppress(OSError):  # of who has hung up before
            writer.write_eof()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(there.hostname, there.port)
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))
        to_writer.close()
        await to_writer.wait_closed()

    async with listening(serve) as port:
        yield port


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str, unless: Container[str] = ()) -> None:
    """Let every host name have these addresses, unless it is one that nobody knows."""

    async def getaddrinfo(host: str, port: object, **_: object) -> list[Any]:
        if host in unless:
            raise socket.gaierror(socket.EAI_NONAME, f"nobody knows {host}")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_a_host_whose_first_address_refuses_is_reached_at_its_second(
    make_database: MakeDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself, aiopg hangs here for a minute."""
    async with relay_to(postgres_url) as port, asyncio.timeout(EVENTUALLY_SECONDS):
        database = make_database(with_host(postgres_url, "postgres.example", port))
        with monkeypatch.context() as patch:
            resolve_to(patch, "127.0.0.2", "::1", "127.0.0.1")
            assert await database.rows("SELECT 1") == [(1,)]
        await database._forget_idle()


@pytest.mark.parametrize("first", ["unknown.example", "%2Fnowhere", "127.0.0.1"])
async def test_of_several_hosts_one_that_is_unknown_or_refuses_gives_way_to_the_next(
    make_database: MakeDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Left to libpq, their names would be looked up on the loop's own thread: nothing else would happen meanwhile."""
    async with relay_to(postgres_url) as port, asyncio.timeout(EVENTUALLY_SECONDS):
        database = make_database(with_host(postgres_url, f"{first}:{free_port()},postgres.example", port))
        with monkeypatch.context() as patch:
            resolve_to(patch, "127.0.0.1", unless={"unknown.example"})
            assert await database.rows("SELECT 1") == [(1,)]
        await database._forget_idle()


async def test_when_no_host_is_known_that_is_told(
    make_database: MakeDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, unless={"one.example", "another.example"})
    with pytest.raises(socket.gaierror, match="nobody knows another"):
        await make_database(with_host(postgres_url, "one.example,another.example", 5432)).rows("SELECT 1")


@pytest.mark.parametrize("wanted", ["any", "read-write", "read-only", "primary", "prefer-standby"])
async def test_a_server_that_is_as_the_url_wants_it_is_taken(
    make_database: MakeDatabase, postgres_url: str, wanted: str
) -> None:
    """The same URL serves who writes. Our own connections are read-only wherever they lead."""
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        database = make_database(f"{postgres_url}?target_session_attrs={wanted}")
        assert await database.rows("SELECT pg_is_in_recovery()") == [(False,)]


async def test_a_server_that_is_not_as_the_url_wants_it_is_none(make_database: MakeDatabase, postgres_url: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="not in hot standby mode"):
        await make_database(f"{postgres_url}?target_session_attrs=standby").rows("SELECT 1")


async def test_a_host_without_a_living_address_fails_at_once(
    make_database: MakeDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = make_database(with_host(postgres_url, "postgres.example", free_port()))
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        with monkeypatch.context() as patch:
            resolve_to(patch, "127.0.0.1", "127.0.0.1")
            with pytest.raises(psycopg2.OperationalError):
                await database.rows("SELECT 1")
        with monkeypatch.context() as patch:
            resolve_to(patch)
            with pytest.raises(OSError, match="no address"):
                await database.rows("SELECT 1")


async def say_nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take a connection, and leave it at that."""


async def test_a_host_that_accepts_and_says_nothing_is_given_up(
    make_database: MakeDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor_live_postgres.database.CONNECT_SECONDS", 0.1)
    async with listening(say_nothing) as port:
        with pytest.raises(TimeoutError, match="no connection within"):
            await make_database(with_host(postgres_url, "127.0.0.1", port)).rows("SELECT 1")


@pytest.mark.parametrize("hosts", ["postgres.example", "127.0.0.2:{port},127.0.0.1"], ids=["a name", "two hosts"])
async def test_a_host_whose_first_address_says_nothing_is_reached_at_its_second_by_who_asks_next(
    make_database: MakeDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch, hosts: str
) -> None:
    """Whose patience is shorter than that first attempt; if it ended with him, it would be the same for ever."""
    monkeypatch.setattr("processor_live_postgres.database.CONNECT_SECONDS", 0.5)
    async with relay_to(postgres_url) as port, listening(say_nothing, "127.0.0.2", port):
        database = make_database(with_host(postgres_url, hosts.format(port=port), port), size=1, timeout_ms=300)
        with monkeypatch.context() as patch:
            if hosts == "postgres.example":
                resolve_to(patch, "127.0.0.2", "127.0.0.1")
            with pytest.raises(TimeoutError, match="no answer within 300 ms"):
                await database.rows("SELECT 1")
            await until(lambda: database._idle)
        assert await database.rows("SELECT 1") == [(1,)]
        await database._forget_idle()


async def test_a_server_that_falls_silent_is_left_with_all_its_connections_and_found_again(
    make_database: MakeDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is frozen, or a firewall has forgotten the connections: each that is tried costs a viewer the snapshot."""
    monkeypatch.setattr("processor_live_postgres.database.GRACE_SECONDS", 0.1)
    flowing = asyncio.Event()
    flowing.set()
    async with relay_to(postgres_url, flowing) as port:
        database = make_database(with_host(postgres_url, "127.0.0.1", port), size=2, timeout_ms=500)
        await asyncio.gather(*[database.rows("SELECT pg_sleep(0.05)") for _ in range(2)])
        assert len(database._idle) == 2
        flowing.clear()
        with pytest.raises(TimeoutError, match="no answer within 500 ms"):
            await database.rows("SELECT 1")
        await until(lambda: not database._queries)
        assert database._idle == []
        flowing.set()
        assert await database.rows("SELECT 1") == [(1,)]
        await database._forget_idle()


PASSWORD = "q8zz7secret"


def chain(error: BaseException | None) -> str:
    """Return all that a traceback would say of an error and of those before it."""
    return "" if error is None else f"{one_line(error)} {error!r} {chain(error.__cause__ or error.__context__)}"


async def test_an_unreachable_server_is_told_without_the_password(make_database: MakeDatabase) -> None:
    database = make_database(f"postgresql://live:{PASSWORD}@127.0.0.1:{free_port()}/rally")
    with pytest.raises(psycopg2.OperationalError) as caught:
        await database.rows("SELECT 1")
    assert PASSWORD not in chain(caught.value)


async def test_a_wrong_password_is_told_without_it(make_database: MakeDatabase) -> None:
    """The server is played, because those of the tests trust everybody (PostgreSQL's protocol 3.0)."""
    passwords = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            startup = await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
            if startup[:4] == (196_608).to_bytes(4):
                break
            writer.write(b"N")  # neither TLS nor GSSAPI
        writer.write(b"R" + (8).to_bytes(4) + (3).to_bytes(4))
        await reader.readexactly(1)
        passwords.append(await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4))
        fields = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "live"\0\0'
        writer.write(b"E" + (len(fields) + 4).to_bytes(4) + fields)
        writer.write_eof()

    async with listening(serve) as port:
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed") as caught:
            await make_database(f"postgresql://live:{PASSWORD}@127.0.0.1:{port}/rally").rows("SELECT 1")
    assert passwords == [PASSWORD.encode() + b"\0"]
    assert PASSWORD not in chain(caught.value)


@pytest.mark.parametrize("plugin", ["snapshot", "routing"])
@pytest.mark.parametrize(
    "host",
    [
        *(f"live:{PASSWORD}%zz@h/d", f"live:{PASSWORD}/x@h/d", f"live:{PASSWORD}@h/d?{PASSWORD}=1"),
        *(f"live:x@[{PASSWORD}/d", f"live:{PASSWORD}@h:port/d", f"live:{PASSWORD}@h1,h2,h3/d?port=1,2"),
    ],
)
async def test_a_url_that_cannot_be_read_stops_the_start_with_a_line_that_holds_no_password(
    plugin: str, host: str
) -> None:
    with pytest.raises(StartError) as caught:
        app_with(plugin, POSTGRES_URL=f"postgresql://{host}")
    assert "POSTGRES_URL" in str(caught.value)
    assert PASSWORD not in chain(caught.value.__cause__) + str(caught.value)
    assert "\n" not in str(caught.value)
