"""`python -m processor_live_demo` shows the real thing and leaves no process and no file behind."""

import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from processor_live_demo.child import Child

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="what is left running is read from /proc"),
    pytest.mark.timeout(120),
]

STATUS_LINE = re.compile(r"connected, (\d+) devices in the snapshot, (\d+) positions/s, worst age [\d.]+ s")


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Provide a directory for the demos' own temporary files, which must be empty in the end."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o711)  # as /tmp: the embedded Postgres of root runs as somebody else
        yield directory
        assert list(directory.iterdir()) == []


@pytest.fixture(autouse=True)
def _hears_a_hangup() -> Iterator[None]:
    """Let the demos not inherit that it is ignored, as it is where the tests were started with nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def demo(temporary: Path, log: Path, stop_signal: signal.Signals = signal.SIGINT) -> Child:
    environ = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "processor_live_demo"]
    return Child(name=log.stem, command=command, log=log, stop_signal=stop_signal, environ=environ)


def status_lines(child: Child) -> list[tuple[int, int]]:
    """Return devices and positions per second of every status line so far."""
    found = STATUS_LINE.findall(child.log.read_text(encoding="utf-8"))
    return [(int(devices), int(positions)) for devices, positions in found]


def shows(child: Child, count: int) -> None:
    """Wait for so many status lines."""
    child.wait_until(lambda: len(status_lines(child)) >= count, 60)


def descendants(pid: int) -> dict[int, str]:
    """Return the processes below one, each with its command line."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            # "pid (name) state ppid ...", where a name may hold anything
            parents[int(stat.parent.name)] = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return {child: command_line(child) for child in below - {pid}}


def command_line(pid: int) -> str:
    """Return how a process was called; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def test_it_shows_the_real_thing_and_cleans_up(temporary: Path, tmp_path: Path) -> None:
    with demo(temporary, tmp_path / "demo.log") as child:
        shows(child, 3)
        running = descendants(child.pid)
        for _ in range(2):  # the second one is impatience
            os.kill(child.pid, signal.SIGINT)
        child.succeed(30)
    printed = child.log.read_text(encoding="utf-8")
    assert "ws://127.0.0.1:" in printed
    assert "npx -y wscat -c ws://127.0.0.1:" in printed
    assert "Cookie     directus_session_token=" in printed
    assert len(set(re.findall(r"event:[0-9a-f-]{36}", printed))) == 2
    assert re.search(r"http://127\.0\.0\.1:\d+/login in a browser, then http://127\.0\.0\.1:\d+/map\n", printed)
    for user in ("steward", "visitor"):
        assert f"{user}@rally.example, password demo" in printed
    devices, positions = status_lines(child)[-1]
    assert devices == 25
    assert positions > 0
    programs = " ".join(running.values())
    for program in ("valkey-server", "postgres", "processor_live_demo.recorder", "-m aiohttp.web -H 127.0.0.1"):
        assert program in programs
    assert {pid: line for pid, line in running.items() if command_line(pid) == line} == {}


def test_two_at_the_same_time_on_busy_ports(temporary: Path, tmp_path: Path) -> None:
    with socket.socket() as blocker:
        blocker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # taken is taken, whoever did it
            blocker.bind(("127.0.0.1", 8081))
            blocker.listen()
        with (
            demo(temporary, tmp_path / "first.log", signal.SIGTERM) as first,
            demo(temporary, tmp_path / "second.log", signal.SIGHUP) as second,
        ):
            for child in (first, second):
                shows(child, 2)
                assert status_lines(child)[-1][0] == 25
            assert [first.stop(30), second.stop(30)] == [0, 0]
    assert "Port 8081 is taken: the WebSocket will be on" in first.log.read_text(encoding="utf-8")
    ports = {re.findall(r"ws://127.0.0.1:(\d+)", child.log.read_text(encoding="utf-8"))[0] for child in (first, second)}
    assert len(ports) == 2


@pytest.mark.parametrize("victim", ["-m aiohttp.web", "processor_live_demo.recorder", "valkey-server"])
def test_when_a_part_dies_it_says_so_and_cleans_up(temporary: Path, tmp_path: Path, victim: str) -> None:
    with demo(temporary, tmp_path / "demo.log") as child:
        shows(child, 1)
        running = descendants(child.pid)
        (pid,) = [pid for pid, line in running.items() if victim in line]
        os.kill(pid, signal.SIGKILL)
        child.wait_until(lambda: child.status is not None, 30)
        assert child.status == 1
    last = child.log.read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith("The demo failed: ")
    assert {pid: line for pid, line in running.items() if command_line(pid) == line} == {}
