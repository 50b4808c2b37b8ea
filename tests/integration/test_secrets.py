"""Cookies and passwords reach no log, no metric and no error, whatever goes wrong; and what may be done with them."""

import re
import signal
import uuid
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession
from redis import Redis
from redis.exceptions import NoPermissionError

from processor_live_demo.access import Access
from processor_live_demo.directus import answer, silence
from tests.core.stranger import strangers
from tests.integration.platform import Platform, now_ms
from tests.integration.process import SERVE, Start, logged
from tests.servers import Database

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
SECRET = "s3cr3t-Passw0rd"
"""Every password; the cookie has its own token."""


def rights(stream: str) -> list[str]:
    """Return what docs/security.md asks an operator to allow at Redis, and no more, for the keys of a test."""
    lines: list[str] = re.findall(r"ACL SETUSER live on >… (.+)", SECURITY.read_text(encoding="utf-8"))
    (line,) = lines
    return line.replace("telemetry:teltonika", stream).replace("live-broadcast", f"{stream}:live").split()


@pytest.fixture
def guarded(redis_url: str, stream: str, database: Database) -> Iterator[dict[str, str]]:
    """URLs of the same Redis and Postgres for a user with a password and the least rights."""
    user = f"live_{uuid.uuid4().hex}"
    redis, postgres = urlsplit(redis_url), urlsplit(database.url)
    at = f"{user}:{SECRET}@"
    database.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{SECRET}'")
    database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")
    with closing(Redis.from_url(redis_url)) as client:
        client.execute_command("ACL SETUSER", user, "on", f">{SECRET}", *rights(stream))  # type: ignore[no-untyped-call]
        yield {
            "REDIS_URL": redis._replace(netloc=at + redis.netloc.rpartition("@")[2]).geturl(),
            "POSTGRES_URL": postgres._replace(netloc=at + postgres.netloc.rpartition("@")[2]).geturl(),
        }
        client.acl_deluser(user)
    database.execute(f"DROP OWNED BY {user}")
    database.execute(f"DROP ROLE {user}")


async def told_by(process: Process, session: ClientSession, port: str) -> str:
    """Return all that an operator can read of a process, the end of its log included."""
    told = ""
    for path in ("metrics", "readyz", "healthz"):
        async with session.get(f"http://127.0.0.1:{port}/{path}") as response:
            told += str(response.headers) + await response.text()
    process.send_signal(signal.SIGTERM)
    _, log = await process.communicate()
    assert process.returncode == 0
    return told + log.decode()


async def test_a_service_that_meets_every_refusal_and_failure_repeats_no_secret(
    platform: Platform, start: Start, access: Access, guarded: dict[str, str], event: str, cookie: str
) -> None:
    platform.database.register(event, "1")
    trackers = platform.trackers
    await trackers.redis.xgroup_create(trackers.stream, f"{trackers.stream}:live-dead", mkstream=True)
    token = cookie.partition("=")[2]
    process = await start(*SERVE, **guarded, LOG_LEVEL="debug", DIRECTUS_AUTH_TIMEOUT_MS="200")
    told: list[str] = []
    port = int((await logged(process, r"live\.listening host=\S+ port=(\d+)", told))[1])
    health = (await logged(process, r"health\.listening host=\S+ port=(\d+)", told))[1]
    await logged(process, r"check\.good check=fanout", told)

    viewer = await platform.viewer(f"http://127.0.0.1:{port}/ws-live", cookie)
    await viewer.snapshot(f"event:{event}")
    await platform.trackers.report("1", now_ms())
    told += [str(await viewer.position())]
    for topic in ("event:6f1c5c0e-0000-4000-8000-000000000000", "x"):
        told += [str(await viewer.ask("subscribe", topic))]
    echo = f"<html>{cookie}</html>".encode()
    for override in (answer(500, body=echo), answer(200, body=echo), answer(302, headers={"Location": f"/?{cookie}"})):
        access.overrides["users"] = access.overrides["events"] = override
        told += [str(await viewer.ask("subscribe", f"event:{event}"))]
        async with strangers(port) as (stranger,):
            assert await stranger.upgrade(f"Cookie: {cookie}") == 503
            told += [repr(stranger)]
    access.overrides["users"] = silence()
    for headers, status in (
        ((f"Cookie: {cookie}",), 503),
        ((f"Cookie: {cookie}", "Origin: null"), 403),
        ((f"Cookie: {cookie}{'x' * 16_384}",), 400),
        ((f"Cookie: {cookie}\r\nBroken",), 400),
    ):
        async with strangers(port) as (stranger,):
            assert await stranger.upgrade(*headers) == status, headers
            told += [repr(stranger)]
    async with strangers(port) as (stranger,):
        assert await stranger.upgrade(f"Cookie : {cookie}") == 400  # he hears what is wrong with it, and nobody else
    del access.overrides["users"], access.overrides["events"]
    access.end_session(cookie)
    async with strangers(port) as (stranger,):
        assert await stranger.upgrade(f"Cookie: {cookie}") == 401
        told += [repr(stranger)]
    told += [str(await viewer.ask("subscribe", f"event:{event}"))]
    assert await viewer.close_code() == 4401

    told += [await told_by(process, platform.session, health)]
    everything = "".join(told)
    assert "check.failing check=directus" in everything, "the failures were seen"
    assert "NOPERM" not in everything, "the least rights are enough"
    assert "group.reaped" in everything
    assert "group.destroyed" in everything
    assert token not in everything
    assert SECRET not in everything


def test_with_the_least_rights_nobody_disturbs_the_others_at_redis(guarded: dict[str, str], stream: str) -> None:
    with closing(Redis.from_url(guarded["REDIS_URL"])) as client:
        client.xgroup_create(stream, "own", mkstream=True)
        for command in (
            "CLIENT KILL TYPE normal", "CLIENT PAUSE 100 ALL", f"SET {stream} 1", f"DEL {stream}",
            f"XADD {stream} * payload 1", f"XTRIM {stream} MAXLEN 0", "GET other", "FLUSHALL", "CONFIG GET maxmemory",
        ):  # fmt: skip
            with pytest.raises(NoPermissionError):
                client.execute_command(*command.split())  # type: ignore[no-untyped-call]


async def test_a_password_that_is_wrong_is_not_repeated(
    platform: Platform, start: Start, guarded: dict[str, str]
) -> None:
    wrong = {key: url.replace(f":{SECRET}@", f":{SECRET}-but-wrong@") for key, url in guarded.items()}
    process = await start(*SERVE, **wrong, LOG_LEVEL="debug", DIRECTUS_BASE_URL=f"http://live:{SECRET}@127.0.0.1:1")
    told: list[str] = []
    port = int((await logged(process, r"live\.listening host=\S+ port=(\d+)", told))[1])
    health = (await logged(process, r"health\.listening host=\S+ port=(\d+)", told))[1]
    await logged(process, r"check\.failing check=fanout", told)
    async with strangers(port) as (stranger,):
        assert await stranger.upgrade("Cookie: session=1") == 503
    await logged(process, r"check\.failing check=directus", told)
    everything = "".join([*told, await told_by(process, platform.session, health)])
    assert SECRET not in everything


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("REDIS_URL", f"redis://live:{SECRET}@127.0.0.1:port"),
        ("REDIS_URL", f"redis://live:{SECRET}/{SECRET}@127.0.0.1"),
        ("POSTGRES_URL", f"postgresql://live:{SECRET}%zz@127.0.0.1/live"),
        ("POSTGRES_URL", f"postgresql://live:{SECRET}@127.0.0.1:port/live"),
        ("DIRECTUS_BASE_URL", f"http://live:{SECRET}@127.0.0.1:port"),
        ("DIRECTUS_BASE_URL", f"http://live:{SECRET}@[127.0.0.1"),
        ("DIRECTUS_BASE_URL", f"http://live:{SECRET}/{SECRET}@127.0.0.1"),
        ("DIRECTUS_BASE_URL", SECRET),
    ],
)
async def test_a_url_that_cannot_be_read_stops_the_start_without_being_repeated(
    start: Start, key: str, url: str
) -> None:
    process = await start("-m", "processor_live", "check", LOG_LEVEL="debug", **{key: url})
    _, log = await process.communicate()
    (line,) = log.decode().splitlines()
    assert line.startswith(f"processor-live: {key} ")
    assert process.returncode == 1
    assert SECRET not in line
