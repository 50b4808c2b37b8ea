"""What does a process use, by the kernel's account?"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A process of this machine, by its id."""

    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return int(kilobytes) * 1024

    def descriptors(self) -> int:
        """Return how many files and sockets it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def connections(self) -> list[tuple[int, int]]:
        """Return the local and the remote port of each of its TCP connections (IPv4)."""
        links: set[str] = set()
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed in the meantime
                links.add(str(descriptor.readlink()))
        found = []
        for line in Path(f"/proc/{self.pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            _, local, remote, *_, inode = line.split()[:10]
            if f"socket:[{inode}]" in links:
                found.append((_port(local), _port(remote)))
        return found

    def children(self) -> list[int]:
        """Return the ids of the processes that it has started."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii").split()]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
