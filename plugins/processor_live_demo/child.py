"""How a process of the demo is started, watched and stopped, so that none is ever left behind."""

import functools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

# What an orderly stop may take before the process is killed: Postgres writes its last checkpoint, the service drains.
STOP_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.02
LOG_TAIL_LINES = 6


class ServerError(RuntimeError):
    """A process could not be started or died; the message is one line that names it and quotes the end of its log."""


@functools.cache
def _leash(stop_signal: signal.Signals) -> tuple[str, ...]:
    """Return the command prefix that ends a process with its parent, where the system has one (util-linux 2.33).

    Not a `preexec_fn`: that runs Python between fork and exec, which deadlocks when the parent has threads.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    prefix = (setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG"), "--")
    trial = subprocess.run(  # busybox has a setpriv without this option
        [*prefix, "true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return prefix if trial.returncode == 0 else ()


@dataclass(kw_only=True)
class Child:
    """A process that runs inside the `with` block and writes to a log file.

    Enter it from a thread that lives as long as the process should (the main thread): on Linux the kernel ends it
    with the thread that started it, so that even a SIGKILL of the demo leaves nothing running. Entering raises
    ServerError when the program cannot be executed at all.
    """

    name: str
    command: Sequence[str]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    # The user and group ids to drop to; None: stay who we are.
    owner: tuple[int, int] | None = None
    # The whole environment; None: ours.
    environ: Mapping[str, str] | None = None
    _process: subprocess.Popen[bytes] = field(init=False, repr=False)

    def __enter__(self) -> Self:
        """Start the process."""
        uid, gid = self.owner or (None, None)
        try:
            # A file, not a pipe: nobody reads a pipe while the server runs, so a full one would block it.
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*_leash(self.stop_signal), *self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd="/",  # the user it drops to may not enter our directory
                    env=self.environ,
                    user=uid,
                    group=gid,
                    extra_groups=[] if self.owner else None,
                    start_new_session=True,  # Ctrl-C in the terminal must reach the demo alone, which stops the rest
                )
        except OSError as error:
            raise ServerError(f"{self.name} cannot be executed: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process, by force if need be."""
        self.stop()

    @property
    def pid(self) -> int:
        """The process id, also of a process that has ended."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status (negative: the signal that ended it), or None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise ServerError when the process has ended."""
        if self.status is not None:
            raise ServerError(f"{self.name} ended with status {self.status}: {self.log_tail()}")

    def log_tail(self) -> str:
        """Return the last lines of the log in one line."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return " | ".join([line.strip() for line in lines if line.strip()][-LOG_TAIL_LINES:]) or "its log is empty"

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Poll `ready` until it says so.

        Raises ServerError when the process ends first or is not ready after `timeout_s` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} was not ready after {timeout_s:g} s: {self.log_tail()}")
            time.sleep(POLL_INTERVAL_S)

    def succeed(self, timeout_s: float) -> None:
        """Wait for a process that ends by itself.

        Raises ServerError when it fails or takes longer than `timeout_s` seconds.
        """
        self.wait_until(lambda: self.status == 0, timeout_s)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask the process to end, insist after `timeout_s` seconds, and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()
