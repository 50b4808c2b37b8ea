"""How does a test treat a Redis badly that it has to itself?"""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis import Redis

from tests.servers import spare_redis


class OwnRedis:
    """A server that a test may stop, start again and freeze; the loop stands still while it starts and stops."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._stack = ExitStack()
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start an empty one where the last one was."""
        self.url = self._stack.enter_context(spare_redis(self._directory, port=self.port))
        self.port = urlsplit(self.url).port or 0
        with closing(Redis.from_url(self.url)) as client:
            facts: Any = client.info("server")
        self._pid = facts["process_id"]

    def close(self) -> None:
        """Stop it; all its data is gone."""
        self._stack.close()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it do nothing for a while, without ending it."""
        os.kill(self._pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._pid, signal.SIGCONT)
