"""With `rediss://` the stream is read over TLS, and only from who can show that it is the server that was meant."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from redis.asyncio import Redis

from processor_live import StartError
from processor_live_demo.embedded import free_port
from tests.link import link_to
from tests.own_redis import OwnRedis
from tests.redis.rally import FAILING, GOOD, Rally, rally_on
from tests.running import Diary, app_with, problem, running
from tests.servers import CHOICE

HOST = "127.0.0.1"
STOP_SECONDS = 8
"""For saying goodbye to a group and to a connection, neither of which is answered."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs certificates that the operator believes in."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> str:
    """The file that says so."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@asynccontextmanager
async def tls(
    own_redis: OwnRedis, own_client: Redis, certificate: trustme.LeafCert, directory: Path
) -> AsyncIterator[int]:
    """Yield a port where this Redis speaks TLS: its own, or, as the packaged one has none, that of a proxy."""
    pem = directory / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(pem)
    if os.environ.get(CHOICE) == "machine":
        port = free_port()
        await own_client.config_set("tls-cert-file", str(pem), "tls-key-file", str(pem), "tls-auth-clients", "no")
        await own_client.config_set("tls-port", str(port))
        yield port
        return
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    async with link_to(own_redis.port, context) as link:
        yield link.port


Behind = Callable[[trustme.LeafCert, str], AbstractAsyncContextManager[Rally]]


@pytest.fixture
def rally_behind(own_redis: OwnRedis, own_client: Redis, tmp_path: Path) -> Behind:
    """Let a rally run whose Redis shows a certificate; with options in its URL."""

    @asynccontextmanager
    async def behind(certificate: trustme.LeafCert, options: str) -> AsyncIterator[Rally]:
        async with tls(own_redis, own_client, certificate, tmp_path) as port:
            rally = rally_on(f"rediss://{HOST}:{port}/0{options}", "stream", own_client)
            async with running(rally.app):
                yield rally

    return behind


async def test_the_stream_is_read_over_tls(
    authority: trustme.CA, trusted: str, rally_behind: Behind, diary: Diary
) -> None:
    async with rally_behind(authority.issue_cert(HOST), f"?ssl_ca_certs={trusted}") as rally:
        await diary.line(GOOD)
        await rally.add(("1", 10_000))
        await rally.until("1", 10_000)


async def test_the_service_stops_in_time_though_a_redis_with_tls_is_frozen(
    authority: trustme.CA, trusted: str, own_redis: OwnRedis, own_client: Redis, diary: Diary, tmp_path: Path
) -> None:
    """Its goodbye never comes."""
    async with tls(own_redis, own_client, authority.issue_cert(HOST), tmp_path) as port:
        runner = web.AppRunner(rally_on(f"rediss://{HOST}:{port}/0?ssl_ca_certs={trusted}", "stream", own_client).app)
        await runner.setup()
        await diary.line(GOOD)
        with own_redis.frozen():
            async with asyncio.timeout(STOP_SECONDS):
                await runner.cleanup()
    await diary.line("group.left_behind")


async def test_who_is_trusted_by_the_system_is_trusted(
    authority: trustme.CA, trusted: str, rally_behind: Behind, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    async with rally_behind(authority.issue_cert(HOST), ""):
        await diary.line(GOOD)


def of_a_stranger(_: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert(HOST)


def of_another_host(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("redis.example")


def of_the_past(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(HOST, not_after=datetime.now(UTC) - timedelta(days=1))


@pytest.mark.parametrize(
    ("issue", "said"),
    [
        (of_a_stranger, "unable to get local issuer certificate"),
        (of_another_host, f"IP address mismatch, certificate is not valid for '{HOST}'"),
        (of_the_past, "certificate has expired"),
    ],
)
async def test_a_bad_certificate_is_refused_and_named_in_one_line(
    issue: Callable[[trustme.CA], trustme.LeafCert], said: str, authority: trustme.CA, trusted: str,
    rally_behind: Behind, own_client: Redis, diary: Diary,
) -> None:  # fmt: skip
    async with rally_behind(issue(authority), f"?ssl_ca_certs={trusted}") as rally:
        line = await diary.line(FAILING)
        assert "CERTIFICATE_VERIFY_FAILED" in line
        assert said in str(problem(rally.app, "fanout"))
        assert "\n" not in line
    assert "cmdstat_set" not in await own_client.info("commandstats"), "nothing was said to whoever that is"


async def test_a_certificate_is_not_looked_at_only_where_the_operator_says_so(
    authority: trustme.CA, rally_behind: Behind, diary: Diary
) -> None:
    async with rally_behind(of_a_stranger(authority), "?ssl_cert_reqs=none"):
        await diary.line(GOOD)


@pytest.mark.parametrize("option", ["ssl_cert_reqs=perhaps", "ssl_ca_certs=/nowhere/ca.pem", "tls=yes"])
def test_an_option_that_cannot_be_used_stops_the_start(option: str) -> None:
    with pytest.raises(StartError, match="REDIS_URL cannot be read"):
        app_with("fanout", REDIS_URL=f"rediss://{HOST}/0?{option}")
