"""Plugins are found by name, installed in order, and refused in words the operator can act on."""

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import web

from processor_live import plugins
from processor_live.app import make_app
from processor_live.connection import Connection
from processor_live.failure import StartError
from processor_live.protocol import Verdict
from processor_live.slots import AUTHORIZE

INSTALLED: web.AppKey[list[str]] = web.AppKey("installed", list)

Package = Callable[[str, str], None]


def _note(name: str) -> plugins.Setup:
    return lambda app: app.setdefault(INSTALLED, []).append(name)


async def _allow(_connection: Connection, _topic: str) -> Verdict:
    return Verdict.ALLOW


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that can be imported as `stranger`."""
    module = ModuleType("stranger")
    monkeypatch.setitem(sys.modules, "stranger", module)
    for name in ("one", "two", "three"):
        setattr(module, name, _note(name))
    return module


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: ModuleType) -> Package:
    """Install a distribution of a name, with an entry point."""
    assert stranger is sys.modules["stranger"]
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, entry_point: str) -> None:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{plugins.ENTRY_POINTS}]\n{entry_point}\n")

    return install


def refusal(names: str) -> str:
    """Return the one line that refuses plugins."""
    with pytest.raises(StartError) as caught:
        make_app({"LIVE_PLUGINS": names})
    line = str(caught.value)
    assert line.startswith("processor-live: ")
    assert len(line.splitlines()) == 1
    return line


@pytest.mark.usefixtures("stranger")
def test_plugins_are_installed_in_the_order_given_and_nothing_else_is() -> None:
    app = make_app({"LIVE_PLUGINS": "stranger:two,stranger:one"})
    assert app[INSTALLED] == ["two", "one"]


def test_a_strangers_package_is_found_by_its_entry_point(package: Package) -> None:
    package("strange", "odd = stranger:three")
    assert make_app({"LIVE_PLUGINS": "odd"})[INSTALLED] == ["three"]


def test_the_projects_own_plugins_come_through_the_same_door() -> None:
    own = {point.name for point in entry_points(group=plugins.ENTRY_POINTS)}
    assert own >= {"auth", "authorization", "routing", "snapshot", "fanout"}
    assert all(callable(plugins.find(name)) for name in own)


def test_an_unknown_plugin_is_named_and_so_are_those_there_are(package: Package) -> None:
    package("strange", "odd = stranger:three")
    line = refusal("od")
    assert "there is no plugin 'od'" in line
    assert "authorization, fanout, map, odd, routing" in line


def test_a_plugin_that_two_packages_bring_must_be_named_in_full(package: Package) -> None:
    package("strange", "odd = stranger:three")
    package("stranger-still", "odd = stranger:two")
    line = refusal("odd")
    assert "several packages" in line
    assert "stranger:three" in line
    assert "stranger:two" in line


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize(
    "name",
    [
        "nowhere:setup",
        "stranger:missing",
        "processor_live.nowhere:setup",
        "stranger.one:two",
        "stranger..one:two",
    ],
)
def test_what_cannot_be_imported_is_named(name: str) -> None:
    assert f"the plugin {name!r} in LIVE_PLUGINS cannot be loaded: " in refusal(name)


def test_what_is_no_function_is_named(stranger: ModuleType) -> None:
    stranger.number = 5  # type: ignore[attr-defined] # a module made for this test
    assert "the plugin 'stranger:number' in LIVE_PLUGINS cannot be called" in refusal("stranger:number")


def test_an_entry_point_whose_module_is_gone_is_named(package: Package) -> None:
    package("strange", "odd = gone:setup")
    assert "the plugin 'odd' in LIVE_PLUGINS cannot be loaded: ModuleNotFoundError: " in refusal("odd")


@pytest.mark.usefixtures("stranger")
def test_a_plugin_named_twice_is_refused() -> None:
    assert refusal("stranger:one,stranger:two,stranger:one").endswith("LIVE_PLUGINS names 'stranger:one' twice")


def test_two_plugins_that_fill_one_slot_are_both_named(stranger: ModuleType) -> None:
    for name in ("judge", "jury"):
        setattr(stranger, name, lambda app: app[AUTHORIZE].fill(_allow))
    line = refusal("stranger:judge,stranger:one,stranger:jury")
    assert "'stranger:judge' and 'stranger:jury'" in line
    assert "AUTHORIZE" in line


def test_a_plugin_that_refuses_to_start_is_heard(stranger: ModuleType) -> None:
    def refuse(_: web.Application) -> None:
        raise StartError("processor-live: STRANGER_KEY is not set")

    stranger.refuse = refuse  # type: ignore[attr-defined] # a module made for this test
    assert refusal("stranger:refuse") == "processor-live: STRANGER_KEY is not set"
