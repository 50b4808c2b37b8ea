"""Settings are what the environment says, or one line that tells the operator what is wrong; a password never shows."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor_live.failure import StartError
from processor_live.settings import Settings, flag, integer, load, redacted, settings_of, text, url, words

SECRET = "s3cr3t"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stranger:
    """Settings of a plugin."""

    count: int = integer("S_COUNT", 5, 1, 10, "how many")
    name: str = text("S_NAME", "ana", "[a-z]+|", "lower-case letters", "who")
    home: str = url("S_HOME", "http://localhost:1", ["http", "https"], "where")
    loud: bool = flag("S_LOUD", "how", default=False)
    sizes: tuple[str, ...] = words("S_SIZES", "s,m", "[a-z]", "letters", "which")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needy:
    """Settings that must be given."""

    store: str = url("N_STORE", None, ["redis", "rediss"], "where")


def refusal(cls: type, **environ: str) -> str:
    """Return the one line that refuses an environment."""
    with pytest.raises(StartError) as caught:
        load(cls, environ)
    line = str(caught.value)
    assert line.startswith("processor-live: ")
    assert len(line.splitlines()) == 1
    return line


def test_an_empty_environment_has_the_defaults_of_the_contract() -> None:
    defaults: dict[str, Any] = dataclasses.asdict(load(Settings, {}))
    del defaults["instance_id"]
    assert defaults == {
        "log_level": "info",
        "ws_host": "0.0.0.0",  # noqa: S104 - docs/contract.md §7
        "ws_port": 8081,
        "metrics_host": "0.0.0.0",  # noqa: S104 - same
        "metrics_port": 9090,
        "plugins": ("auth", "authorization", "routing", "snapshot", "fanout"),
        "allowed_origins": (),
        "ping_interval_ms": 30_000,
        "drain_timeout_ms": 5_000,
        "max_connections": 20_000,
        "max_connections_per_user": 20,
        "max_subscriptions": 20,
        "max_commands_per_second": 10,
        "backpressure_threshold_bytes": 65_536,
        "slow_timeout_ms": 60_000,
        "compression": True,
        "flush_interval_ms": 20,
        "include_attributes": False,
    }


def test_two_processes_that_are_not_named_have_different_names() -> None:
    names = {load(Settings, {}).instance_id for _ in range(20)}
    assert len(names) == 20
    for name in names:
        assert load(Settings, {"INSTANCE_ID": name}).instance_id == name, "and names that may be given"


def test_every_key_can_be_set() -> None:
    assert load(Stranger, {}) == Stranger(count=5, name="ana", home="http://localhost:1", loud=False, sizes=("s", "m"))
    environ = {"S_COUNT": " 7 ", "S_NAME": "ben", "S_HOME": "https://b", "S_LOUD": "true", "S_SIZES": " a, b ,,c,"}
    assert load(Stranger, environ) == Stranger(count=7, name="ben", home="https://b", loud=True, sizes=("a", "b", "c"))


def test_an_empty_variable_counts_as_unset() -> None:
    environ = dict.fromkeys(("S_COUNT", "S_NAME", "S_HOME", "S_LOUD", "S_SIZES"), " ")
    assert load(Stranger, environ) == load(Stranger, {})


def test_a_list_of_separators_is_an_empty_list() -> None:
    assert load(Stranger, {"S_SIZES": ","}).sizes == ()


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("S_COUNT", "0", "a whole number from 1 to 10"),
        ("S_COUNT", "11", "a whole number from 1 to 10"),
        ("S_COUNT", "5.5", "a whole number from 1 to 10"),
        ("S_COUNT", "many", "a whole number from 1 to 10"),
        ("S_NAME", "Ana", "lower-case letters"),
        ("S_NAME", "ana7", "lower-case letters"),
        ("S_NAME", "ana\nben", "lower-case letters"),
        ("S_LOUD", "maybe", "true or false"),
        ("S_SIZES", "a,B", "letters"),
        ("S_SIZES", "ab", "letters"),
    ],
)
def test_a_bad_value_is_refused_with_key_value_and_what_is_allowed(key: str, value: str, allowed: str) -> None:
    assert refusal(Stranger, **{key: value}) == f"processor-live: {key} is {value!r}: it must be {allowed}"


def test_a_required_key_that_is_missing_is_named() -> None:
    assert refusal(Needy) == "processor-live: N_STORE is not set: it must be a URL redis://… or rediss://…"
    assert load(Needy, {"N_STORE": f"redis://u:{SECRET}@h/0"}).store == f"redis://u:{SECRET}@h/0"


@pytest.mark.parametrize(
    "value",
    [
        f"http://u:{SECRET}@h/0",
        f"redis//u:{SECRET}@h",
        f"redis://u:{SECRET}@h with space",
        f"redis://u:{SECRET}@{SECRET}@h x",
        f"redis://u:{SECRET}/{SECRET}@h x",
        f"redis://u:{SECRET}\n{SECRET}@h",
        f"redis://h/0?password={SECRET} x",
        f"redis://h/0?a=1\n&password={SECRET}",
        SECRET,
    ],
)
def test_a_bad_url_is_refused_without_showing_its_password(value: str) -> None:
    line = refusal(Needy, N_STORE=value)
    assert "N_STORE" in line
    assert SECRET not in line


@given(st.text(max_size=20), st.text(max_size=20), st.text(alphabet="ahostx.:/", max_size=10))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_whatever_stands_before_the_host_is_redacted(before: str, after: str, host: str) -> None:
    shown = redacted(f"redis://{before}{SECRET}{after}@{host}?{SECRET}")
    assert SECRET not in shown
    assert shown == f"redis://***@{host}?***"


def test_the_first_bad_key_ends_the_start_and_the_last_good_ones_do_not_help() -> None:
    assert "S_COUNT" in refusal(Stranger, S_COUNT="x", S_NAME="X")


@pytest.mark.parametrize("origin", ["https://a.b", "http://localhost:5173", "https://a.b,https://c.d:8443"])
def test_origins_are_scheme_and_host(origin: str) -> None:
    assert load(Settings, {"LIVE_WS_ALLOWED_ORIGINS": origin}).allowed_origins == tuple(origin.split(","))


@pytest.mark.parametrize("origin", ["a.b", "https://a.b/", "https://a.b/live", "https://u@a.b", "*", "https://"])
def test_what_no_browser_would_send_as_an_origin_is_refused(origin: str) -> None:
    assert "LIVE_WS_ALLOWED_ORIGINS" in refusal(Settings, LIVE_WS_ALLOWED_ORIGINS=origin)


@pytest.mark.parametrize("names", [".relative:setup", "..:setup", "auth;fanout", "my.module:", "a:b:c", "-", "a/b"])
def test_what_cannot_name_a_plugin_is_refused(names: str) -> None:
    assert "LIVE_PLUGINS" in refusal(Settings, LIVE_PLUGINS=names)


def test_settings_describe_themselves_and_their_defaults_are_good() -> None:
    described = settings_of(Settings)
    assert len({setting.key for setting in described}) == len(described) == len(dataclasses.fields(Settings))
    for setting in described:
        assert setting.about
        assert setting.allowed
        setting.read({})
