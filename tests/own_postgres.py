"""How does a test treat a Postgres badly that it has to itself?"""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import urlsplit

from processor_live_demo.embedded import Cluster
from tests.servers import Database


class OwnPostgres:
    """A server that a test may stop, start again, crash and freeze; the loop stands still while it starts and stops."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stack = ExitStack()
        self._port = 0
        self.start()

    def start(self) -> None:
        """Start it where it was, with the data that it had."""
        self.url = self._stack.enter_context(self._cluster.run(port=self._port))
        self._port = urlsplit(self.url).port or 0

    def close(self) -> None:
        """Stop it; all who are connected are thrown out."""
        self._stack.close()

    def crash(self) -> None:
        """Kill a process of it, as one that runs out of memory is: it throws everybody out, and recovers."""
        with closing(Database(self.url)) as victim:
            [[pid]] = victim.execute("SELECT pg_backend_pid()")
            os.kill(pid, signal.SIGKILL)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it do nothing for a while, without ending it: neither who takes new connections nor who serves one."""
        postmaster = int((self._cluster.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        stopped = [postmaster]
        with closing(Database(self.url)) as database:
            os.kill(postmaster, signal.SIGSTOP)  # first, so that nobody else comes
            try:
                serving = database.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
                for [pid] in serving:
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)
                yield
            finally:
                for pid in reversed(stopped):
                    os.kill(pid, signal.SIGCONT)
