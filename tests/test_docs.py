"""What the documents say is what the code does."""

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import processor_live
from processor_live import Verdict
from processor_live.app import make_app
from processor_live.plugins import ENTRY_POINTS
from processor_live.protocol import EXPLANATIONS, Disconnect, ErrorCode
from processor_live.settings import Setting, Settings, load, settings_of
from processor_live_directus.auth import PATIENCE_SECONDS
from processor_live_directus.client import DirectusSettings
from processor_live_map.settings import MapSettings
from processor_live_postgres.database import PostgresSettings
from processor_live_redis.connection import RedisSettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRACT = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
PLUGINS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
DOCUMENTS = (
    *map(ROOT.joinpath, ("README.md", "CHANGELOG.md", "bench/README.md", "client/README.md", "deploy/README.md")),
    *(ROOT / "docs").glob("*.md"),
)
CLIENT_FILES = (ROOT / "client" / "live.js", ROOT / "client" / "live.d.ts")
CLIENT = CLIENT_FILES[0].read_text(encoding="utf-8")


def row(setting: Setting) -> str:
    default = "**required**" if setting.default is None else f"`{setting.default}`" if setting.default else ""
    return f"| `{setting.key}` | {default} | {setting.allowed} | {setting.about} |"


def test_the_readme_has_the_settings_of_the_code_and_no_others() -> None:
    declared = [
        row(setting)
        for settings in (Settings, RedisSettings, PostgresSettings, DirectusSettings, MapSettings)
        for setting in settings_of(settings)
    ]
    assert re.findall(r"^\| `[A-Z_]+` \|.*\|$", README, re.MULTILINE) == declared


def test_the_contract_has_every_setting_with_its_default() -> None:
    section = CONTRACT.partition("\n## 7.")[2].partition("\n## 8.")[0]
    for settings in (Settings, RedisSettings, PostgresSettings, DirectusSettings):
        for setting in settings_of(settings):
            (line,) = [line for line in section.splitlines() if f"`{setting.key}`" in line]
            default = setting.default
            assert (f"`{default}`" if default else "required" if default is None else "empty") in line


def test_the_contract_has_every_error_code_and_every_close_code() -> None:
    for code in ErrorCode:
        assert f"| `{code}` |" in CONTRACT
    for why in Disconnect:
        assert f"\n| {why.code} |" in CONTRACT
    assert set(EXPLANATIONS) == set(ErrorCode) - {ErrorCode.INVALID_MESSAGE}


def test_the_client_keeps_the_times_of_the_contract() -> None:
    section = CONTRACT.partition("\n## 9.")[2]
    written = dict(re.findall(r"^\| `(\w+_MS)` \| (\d+) \|", section, re.MULTILINE))
    kept = {name: ms.replace("_", "") for name, ms in re.findall(r"^const (\w+_MS) = ([\d_]+)", CLIENT, re.MULTILINE)}
    assert kept == written


def test_the_client_waits_longer_for_a_handshake_than_the_service_waits_for_directus() -> None:
    row = r"^\| `HANDSHAKE_MS` \| (\d+) \|.*at most (\d+) \|$"
    ((handshake_ms, auth_ms),) = re.findall(row, CONTRACT, re.MULTILINE)
    assert load(DirectusSettings, {}).auth_timeout_ms <= int(auth_ms)
    assert PATIENCE_SECONDS * 1000 + int(auth_ms) < int(handshake_ms)


def test_the_client_comes_back_after_the_close_codes_of_the_contract_and_no_others() -> None:
    stays_away = re.findall(r"^\| (\d{4}) \|.*\| not reconnect by itself \|$", CONTRACT, re.MULTILINE)
    (faults,) = re.findall(r"^const FAULTS = \[([\d, ]+)\]", CLIENT, re.MULTILINE)
    assert faults.split(", ") == stays_away


def test_the_clients_types_have_every_error_code_and_two_of_its_own() -> None:
    types = CLIENT_FILES[1].read_text(encoding="utf-8")
    declared = types.partition("export type LiveErrorCode =")[2].partition("\n\n")[0]
    assert set(re.findall(r"'([\w-]+)'", declared)) == {*ErrorCode, "timeout", "closed"}


def test_the_plugin_guide_names_all_that_a_plugin_may_import_and_nothing_else() -> None:
    table = PLUGINS.partition("## What you may import")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", table.replace("processor_live", ""))) >= set(processor_live.__all__)
    for name in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table, re.MULTILINE):
        assert set(re.findall(r"`(\w+)`", name)) <= set(processor_live.__all__)


def test_the_plugin_guide_has_every_verdict() -> None:
    section = PLUGINS.partition("## What the answers hold")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[A-Z]{2}.*?) \|", section, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(rows)) == [*Verdict.__members__]


def test_the_readme_names_the_plugins_that_are_installed() -> None:
    installed = {point.name for point in entry_points(group=ENTRY_POINTS)}
    assert installed == {"auth", "authorization", "routing", "snapshot", "fanout", "map"}
    assert all(f"`{name}`" in README for name in installed)


def test_every_metric_that_the_documents_name_exists() -> None:
    make_app({"REDIS_URL": "redis://redis", "POSTGRES_URL": "postgresql://postgres"})  # has the plugins' metrics, too
    metrics = {f"{each.name}_total" if each.type == "counter" else each.name for each in REGISTRY.collect()}
    for document in DOCUMENTS:
        named = re.findall(r"\blive_[a-z_]+?(?=(?:_count)?\b)", document.read_text(encoding="utf-8"))
        assert set(named) <= metrics, document.name


def test_every_file_that_the_documents_link_to_exists() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("document", ["security.md", "reliability.md"])
def test_every_proof_that_a_table_names_exists_and_every_line_has_one(document: str) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    lines = re.findall(r"^\| (?!line|fault|---)(.*) \|$", text, re.MULTILINE)
    assert lines
    for line in lines:
        proofs = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", line)
        assert proofs, line
        for path, name in proofs:
            assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{name}"


def test_every_section_of_the_contract_that_the_code_cites_exists() -> None:
    sections = set(re.findall(r"^#{2,3} (\d(?:\.\d)?)", CONTRACT, re.MULTILINE))
    for source in (*(ROOT / "processor_live").glob("*.py"), *(ROOT / "plugins").glob("*/*.py"), *CLIENT_FILES):
        cited = re.findall(r"contract\.md §(\d(?:\.\d)?)", source.read_text(encoding="utf-8"))
        assert set(cited) <= sections, source.name
