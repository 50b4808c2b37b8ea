"""How do tests of the consumer group write and read?"""

from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from processor_live_redis.group import Group

SOON_MS = 100
MakeGroup = Callable[..., Group]


async def add(redis: Redis, stream: str, *names: str) -> list[bytes]:
    """Add an entry for each name and return their ids."""
    ids: list[Any] = [await redis.xadd(stream, {"payload": name}) for name in names]
    return ids


async def read(group: Group, count: int = 500) -> list[str]:
    """Read once and return the names of what came."""
    return [fields[1].decode() for _, fields in await group.read(count, SOON_MS)]


async def groups(redis: Redis, stream: str) -> dict[str, dict[str, Any]]:
    """Return what Redis says of the stream's groups, by their names without the stream's."""
    found: Any = await redis.xinfo_groups(stream)
    return {group["name"].decode().removeprefix(f"{stream}:"): group for group in found}
