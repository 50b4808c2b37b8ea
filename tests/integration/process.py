"""The service as a process of its own."""

import asyncio
import re
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import ClientConnectorError

from tests.integration.platform import EVENTUALLY_SECONDS, Platform, Viewer

Start = Callable[..., Awaitable[Process]]
"""Starts a Python with the platform's environment and the settings given by keyword."""

SERVE = ("-m", "processor_live", "serve")


async def logged(process: Process, pattern: str, read: list[str] | None = None) -> re.Match[str]:
    """Return the match in the first line of the log that has one; all lines up to it are added to `read`."""
    assert process.stderr is not None
    lines = [] if read is None else read
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while line := (await process.stderr.readline()).decode():
            lines.append(line)
            if match := re.search(pattern, line):
                return match
    raise AssertionError(f"no {pattern} in {''.join(lines)}")


async def first_viewer(platform: Platform, process: Process, url: str, cookie: str) -> Viewer:
    """Connect somebody as soon as the service is open: it says so a moment before it listens."""
    await logged(process, r"live\.open")
    async with asyncio.timeout(EVENTUALLY_SECONDS):
        while True:
            with suppress(ClientConnectorError):
                return await platform.viewer(url, cookie)
