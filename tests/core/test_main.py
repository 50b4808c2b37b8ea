"""The command line starts the service, or says in one line why it cannot."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection

import pytest

from processor_live.__main__ import main

SECONDS = 20
"""For a start or a stop: long, because a machine may be busy."""


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a module in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture
def _quiet(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    """An environment without plugins."""
    for key, value in environ.items():
        monkeypatch.setenv(key, value)


@pytest.fixture
def busy_port() -> Iterator[str]:
    """A port that somebody else has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


@pytest.mark.usefixtures("_quiet")
def test_check_says_that_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check"])
    assert capsys.readouterr() == ("settings are good; plugins: none\n", "")


@pytest.mark.usefixtures("_quiet")
def test_check_names_the_plugins_in_order(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LIVE_PLUGINS", "routing,auth")
    monkeypatch.setenv("POSTGRES_URL", "postgresql://u:secret@localhost/db")
    main(["check"])
    assert capsys.readouterr().out == "settings are good; plugins: routing, auth\n"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"LIVE_WS_PORT": "eighty"}, "LIVE_WS_PORT is 'eighty': it must be a whole number from 0 to 65535"),
        ({"LIVE_PLUGINS": "nowhere"}, "there is no plugin 'nowhere'"),
        ({"LIVE_PLUGINS": "fanout", "REDIS_URL": ""}, "REDIS_URL is not set: it must be a URL "),
    ],
)
@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.usefixtures("_quiet")
def test_neither_command_goes_on_with_bad_settings(
    monkeypatch: pytest.MonkeyPatch, command: str, settings: dict[str, str], line: str
) -> None:
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(SystemExit, match=f"^processor-live: {re.escape(line)}"):
        main([command])


@pytest.mark.parametrize("arguments", [[], ["stop"], ["serve", "--port", "1"]])
def test_wrong_usage_has_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: processor-live" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["processor_live", "check"], ["aiohttp.web", "processor_live.app:init"]])
def test_a_bad_setting_is_one_line_on_stderr_and_status_1(environ: dict[str, str], arguments: list[str]) -> None:
    ended = run(*arguments, **environ, LIVE_FLUSH_INTERVAL_MS="soon")
    assert ended.returncode == 1
    assert ended.stderr == (
        "processor-live: LIVE_FLUSH_INTERVAL_MS is 'soon': it must be a whole number from 0 to 1000\n"
    )
    assert ended.stdout == ""


def test_a_busy_port_is_one_line_on_stderr_and_status_1(environ: dict[str, str], busy_port: str) -> None:
    ended = run("processor_live", "serve", **environ, LIVE_WS_HOST="127.0.0.1", LIVE_WS_PORT=busy_port)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"processor-live: cannot listen on LIVE_WS_HOST '127.0.0.1', LIVE_WS_PORT {busy_port}: ")
    assert "address already in use" in line.lower()


def test_a_busy_metrics_port_ends_the_start_with_status_1(environ: dict[str, str], busy_port: str) -> None:
    settings = {**environ, "LIVE_WS_HOST": "127.0.0.1", "LIVE_WS_PORT": "0", "METRICS_PORT": busy_port}
    few = {"LIVE_WS_MAX_CONNECTIONS": "10"}  # as any system has files for, without a warning
    ended = run("processor_live", "serve", **settings, **few, LOG_LEVEL="warning")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"processor-live: cannot listen on METRICS_HOST '127.0.0.1', METRICS_PORT {busy_port}: ")
    assert "address already in use" in line.lower()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_ends_with_status_0(environ: dict[str, str], how: signal.Signals) -> None:
    settings = {**os.environ, **environ, "LIVE_WS_HOST": "127.0.0.1", "LIVE_WS_PORT": "0"}
    command = [sys.executable, "-m", "processor_live", "serve"]
    with subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        port = 0
        for line in service.stderr:
            port = int(found[1]) if (found := re.search(r"live.listening host=127.0.0.1 port=(\d+)", line)) else port
            if "health.listening" in line:
                break
        live = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        live.request("GET", "/ws-live")
        answer = live.getresponse()
        live.close()
        service.send_signal(how)
        _, rest = service.communicate(timeout=SECONDS)
    assert answer.status == HTTPStatus.UPGRADE_REQUIRED
    assert service.returncode == 0
    assert "Traceback" not in rest
