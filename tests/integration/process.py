"""The service as a process of its own."""

import asyncio
import re
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable

from tests.integration.platform import EVENTUALLY_SECONDS

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
