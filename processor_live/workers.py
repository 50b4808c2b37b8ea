"""How do several processes serve one port? `processor-live serve --workers N`

The kernel shares out the connections (`SO_REUSEPORT`). Each worker is a service of its own, with an INSTANCE_ID, hence
a consumer group, and a METRICS_PORT of its own; this process only starts them, ends who freezes, starts them again and
stops them.
"""

import asyncio
import logging
import secrets
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress

from processor_live.failure import one_line
from processor_live.lifeline import Lifeline
from processor_live.listening import reserved
from processor_live.settings import Settings, load

log = logging.getLogger(__name__)

PAUSE_SECONDS = (0.5, 30.0)
"""Before a worker that has died is started again: the shortest and the longest, doubling while it lives no longer."""
GRACE_SECONDS = 10.0
"""What a worker may take to stop beyond LIVE_WS_DRAIN_TIMEOUT_MS; then it is killed."""

COMMAND = (sys.executable, "-m", "processor_live", "serve", "--worker")


class Workers:
    """`count` workers that serve the port of `settings`, which are those of `environ`."""

    def __init__(self, count: int, settings: Settings, environ: Mapping[str, str]) -> None:
        """Raise `StartError` when the port cannot be had or a worker's own settings are bad."""
        self._reserved = reserved(settings)
        self.port: int = self._reserved.getsockname()[1]
        self._count = count
        self._settings = settings
        self._environ = environ
        for number in range(count):
            load(Settings, self._environ_of(number))
        self._stop_seconds = settings.drain_timeout_ms / 1000 + GRACE_SECONDS
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    def _environ_of(self, number: int) -> dict[str, str]:
        """Return the environment of the next process that is this worker.

        Each has an INSTANCE_ID of its own: the dead one's would be taken until its liveness key expires.
        """
        settings = self._settings
        return {
            **self._environ,
            "INSTANCE_ID": f"{settings.instance_id}-{number}-{secrets.token_hex(3)}",
            "LIVE_WS_PORT": str(self.port),
            "METRICS_PORT": str(settings.metrics_port and settings.metrics_port + number),
        }

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the status to exit with: 0 when all workers stopped cleanly."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._heed)
        with self._reserved:
            statuses = await asyncio.gather(*(self._keep(number) for number in range(self._count)))
        return int(any(statuses))

    def _heed(self) -> None:
        """Take a signal: the first one means stop, another one hurry."""
        (self._hurrying if self._stopping.is_set() else self._stopping).set()

    async def _keep(self, number: int) -> int:
        """Keep one worker running until all are to stop; return its exit status."""
        loop = asyncio.get_running_loop()
        shortest, longest = PAUSE_SECONDS
        pause = shortest
        while True:
            started = loop.time()
            status, error = 0, None
            try:
                with Lifeline() as lifeline:
                    process = await self._start(number, lifeline)
                    status = await self._end_of(process, lifeline)
            except OSError as failed:  # there is no memory, process or descriptor to be had just now
                error = failed
            if self._stopping.is_set():
                return status
            pause = shortest if loop.time() - started > longest else min(2 * pause, longest)
            if error is None:
                log.error("worker.died worker=%d status=%d again_in_s=%.1f", number, status, pause)
            else:
                log.error("worker.not_started worker=%d error=%r again_in_s=%.1f", number, one_line(error), pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
                return 0  # there is nothing to stop

    async def _start(self, number: int, lifeline: Lifeline) -> Process:
        # a session of its own: a Ctrl-C in the terminal is for this process, which passes it on
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=lifeline.workers_end.fileno(), env=self._environ_of(number), start_new_session=True
        )
        lifeline.workers_end.close()
        log.info("worker.started worker=%d pid=%d", number, process.pid)
        return process

    async def _end_of(self, process: Process, lifeline: Lifeline) -> int:
        """Wait for the end of a worker, and bring it about when it freezes or all are to stop; return its status."""
        end = asyncio.create_task(process.wait())
        silence = asyncio.create_task(lifeline.falls_silent())
        stopping, hurrying = (asyncio.create_task(event.wait()) for event in (self._stopping, self._hurrying))
        await asyncio.wait({end, silence, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done() and not end.done():
            process.terminate()
            await asyncio.wait({end, hurrying}, timeout=self._stop_seconds, return_when=asyncio.FIRST_COMPLETED)
        if hurrying.done() and not end.done():
            process.terminate()
            await asyncio.wait({end}, timeout=GRACE_SECONDS)
        if not end.done():
            if stopping.done():
                log.error("worker.killed pid=%d: it has not stopped in time", process.pid)
            else:
                log.error("worker.silent pid=%d", process.pid)
            process.kill()
        for other in (silence, stopping, hurrying):
            other.cancel()
        status = await end
        return 0 if status == -signal.SIGTERM else status  # it was starting: there was nobody to say goodbye to
