"""How is Redis reached, and how long is it waited for?"""

import asyncio
from dataclasses import dataclass
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from processor_live import StartError, integer, text, url

CONNECT_SECONDS = 3
GRACE_SECONDS = 5
"""What Redis may take to answer beyond the time a read blocks."""


@dataclass(frozen=True, kw_only=True)
class RedisSettings:
    """The keys of the fan-out plugin."""

    url: str = url("REDIS_URL", None, ("redis", "rediss", "unix"), "where the telemetry stream is")
    stream: str = text(
        "REDIS_TELEMETRY_STREAM", "telemetry:teltonika", r"\S+", "a key without spaces", "the stream's key"
    )
    group_prefix: str = text(
        "LIVE_BROADCAST_GROUP_PREFIX", "live-broadcast", r"[\w.:-]+", "letters, digits, '_', '.', ':' or '-'",
        "begins the names of the consumer groups, and of nobody else's: one that nobody reads is destroyed",
    )  # fmt: skip
    batch_size: int = integer("LIVE_BROADCAST_BATCH_SIZE", 500, 1, 10_000, "entries read at once")
    block_ms: int = integer(
        "LIVE_BROADCAST_BATCH_BLOCK_MS", 1_000, 1, 5_000, "how long one read waits for the first entry"
    )

    def __post_init__(self) -> None:
        try:
            connection = pool_of(self.url).make_connection()  # type: ignore[no-untyped-call]
            if isinstance(connection, SSLConnection):
                connection.ssl_context.get()  # reads the certificates that the URL names
        except (ValueError, TypeError, OSError, RedisError):  # the message may quote a part of the password
            raise StartError(
                "processor-live: REDIS_URL cannot be read: in a password '/', '@', ':', '?', '#' and '%' must be "
                "percent-encoded, a port is a number, and after a '?' stand options of redis-py that can be used"
            ) from None


def pool_of(url: str) -> ConnectionPool:
    """Return a pool of connections as the URL has them, except for what this plugin relies on.

    Raises whatever redis-py thinks of.
    """
    options: dict[str, Any] = {
        **parse_url(url),
        "protocol": 2,  # the shapes that `group` reads
        "decode_responses": False,  # same
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": None,  # see PatientRedis; redis-py's default of 5 s would cut the longest blocking read
        "retry": Retry(NoBackoff(), 0),  # a read repeated blindly would lose what the first one was given
    }
    return ConnectionPool(**options)


class PatientRedis(Redis):
    """A Redis client whose every command is answered in time or fails.

    Not by redis-py's own `socket_timeout`: on Python 3.11 that may swallow the cancellation of a stop.
    """

    def __init__(self, pool: ConnectionPool, patience_s: float) -> None:
        super().__init__(connection_pool=pool)
        self._patience_s = patience_s

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        """Do what redis-py does. Raises `TimeoutError` (an `OSError`) after the patience."""
        try:
            async with asyncio.timeout(self._patience_s):
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise TimeoutError(f"no answer to {args[0]} within {self._patience_s:g} s") from None


def patient_redis(settings: RedisSettings) -> Redis:
    """Return a client that gives Redis the time of the longest blocking read, and some more."""
    return PatientRedis(pool_of(settings.url), settings.block_ms / 1000 + GRACE_SECONDS)
