"""Which settings are there, and what do they say in this environment?

A settings class is a frozen dataclass whose fields are made by `integer`, `text`, `url`, `flag` and `words`. The core
has one (`Settings`); each plugin brings one of its own keys and reads it with `load(ItsSettings, app[ENVIRON])`.
"""

import dataclasses
import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from aiohttp import web
from marshmallow import ValidationError, fields, validate

from processor_live.failure import StartError

ENVIRON: web.AppKey[Mapping[str, str]] = web.AppKey("environ", Mapping[str, str])
"""The environment this application was made with; read your own keys from it with `load`."""

_METADATA = "processor_live.setting"
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One key: how to read it, what to say when that fails, what to tell the reader of the README."""

    key: str
    field: fields.Field[Any]
    default: str | None
    """As it would be written in the environment; None when the key is required."""
    allowed: str
    about: str
    secret: bool = False
    """The value may hold a password: it is never printed as it is."""

    def read(self, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - the dataclass field has the type
        """Return the typed value; an empty variable counts as unset. Raise `StartError` naming key, value, allowed."""
        value = environ.get(self.key, "").strip() or self.default
        if value is None:
            raise StartError(f"processor-live: {self.key} is not set: it must be {self.allowed}")
        try:
            return self.field.deserialize(value)
        except ValidationError:
            shown = redacted(value) if self.secret else value
            raise StartError(f"processor-live: {self.key} is {shown!r}: it must be {self.allowed}") from None


def redacted(url: str) -> str:
    """Return `url` without what may be a secret: its user part and its query; `***` when it is no URL at all."""
    if "://" not in url:
        return "***"
    return re.sub(r"(?s)\?.*", "?***", re.sub(r"(?s)//.*@", "//***@", url))


def _setting(setting: Setting) -> Any:  # noqa: ANN401 - stands where a dataclass expects a default
    return dataclasses.field(metadata={_METADATA: setting})


def integer(key: str, default: int, low: int, high: int, about: str) -> Any:  # noqa: ANN401 - see _setting
    """Declare a whole number from `low` to `high`."""
    return _setting(
        Setting(
            key=key,
            field=fields.Integer(validate=validate.Range(low, high)),
            default=str(default),
            allowed=f"a whole number from {low} to {high}",
            about=about,
        )
    )


def text(key: str, default: str, pattern: str, allowed: str, about: str) -> Any:  # noqa: ANN401 - see _setting
    """Declare a string that matches the whole of `pattern`."""
    field = fields.String(validate=validate.Regexp(rf"(?:{pattern})\Z"))
    return _setting(Setting(key=key, field=field, default=default, allowed=allowed, about=about))


def url(key: str, default: str | None, schemes: Sequence[str], about: str) -> Any:  # noqa: ANN401 - see _setting
    """Declare a URL with one of `schemes`; required when `default` is None. It may hold a password."""
    forms = " or ".join(f"{scheme}://…" for scheme in schemes)
    # a Unix socket has a path where others have a host
    starts = "|".join(f"{scheme}:///?" if scheme == "unix" else f"{scheme}://" for scheme in schemes)
    field = fields.String(validate=validate.Regexp(rf"(?:{starts})[^\s/?#][^\s]*\Z"))
    return _setting(Setting(key=key, field=field, default=default, allowed=f"a URL {forms}", about=about, secret=True))


def flag(key: str, about: str, *, default: bool) -> Any:  # noqa: ANN401 - see _setting
    """Declare a switch."""
    return _setting(
        Setting(key=key, field=fields.Boolean(), default=str(default).lower(), allowed="true or false", about=about)
    )


class _Words(fields.Field[tuple[str, ...]]):
    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = re.compile(pattern)

    def _deserialize(self, value: str, *_: object, **__: object) -> tuple[str, ...]:
        words = tuple(word.strip() for word in value.split(",") if word.strip())
        if not all(self._pattern.fullmatch(word) for word in words):
            raise ValidationError("not a list of such words")
        return words


def words(key: str, default: str, pattern: str, allowed: str, about: str) -> Any:  # noqa: ANN401 - see _setting
    """Declare a comma-separated list of words, each matching the whole of `pattern`."""
    return _setting(Setting(key=key, field=_Words(pattern), default=default, allowed=allowed, about=about))


def settings_of(cls: type) -> list[Setting]:
    """Return what a settings class declares, in order: the source of the README's table."""
    return [field.metadata[_METADATA] for field in dataclasses.fields(cls)]


def load(cls: type[_T], environ: Mapping[str, str]) -> _T:
    """Return an instance of the settings class `cls` read from `environ`.

    Raises `StartError` for the first key that is missing or bad: one line naming key, value and what is allowed.
    """
    declared = dataclasses.fields(cls)  # type: ignore[arg-type] # a dataclass by the module's convention
    return cls(**{field.name: field.metadata[_METADATA].read(environ) for field in declared})


def _unique_instance() -> str:
    """Two processes sharing one id would share one group and each get half the stream: hence the random part."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


HOST = r"[A-Za-z0-9.:_-]+"
ORIGIN = r"https?://[^\s/?#@]+"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The core's own settings (docs/contract.md §7)."""

    instance_id: str = text(
        "INSTANCE_ID", "", r"[A-Za-z0-9_.-]{0,128}", "up to 128 letters, digits, '.', '_' or '-'",
        "names this process in Redis; empty: host, pid and a random part. Never give two processes the same",
    )  # fmt: skip
    log_level: str = text(
        "LOG_LEVEL", "info", "debug|info|warning|error", "debug, info, warning or error", "the least severe line logged"
    )
    ws_host: str = text("LIVE_WS_HOST", "0.0.0.0", HOST, "a host name or address", "where `serve` listens")  # noqa: S104 - contract §7
    ws_port: int = integer("LIVE_WS_PORT", 8081, 0, 65535, "where `serve` listens; 0 picks a free port and logs it")
    metrics_host: str = text(
        "METRICS_HOST", "0.0.0.0", HOST, "a host name or address", "where /metrics, /healthz and /readyz listen"  # noqa: S104 - contract §7
    )  # fmt: skip
    metrics_port: int = integer("METRICS_PORT", 9090, 0, 65535, "their port; 0 picks a free port and logs it")
    plugins: tuple[str, ...] = words(
        "LIVE_PLUGINS", "auth,authorization,routing,snapshot,fanout", r"\w[\w.-]*(?::[\w.]+)?",
        "a comma-separated list of plugin names or module:function", "what to install, in this order",
    )  # fmt: skip
    allowed_origins: tuple[str, ...] = words(
        "LIVE_WS_ALLOWED_ORIGINS", "", ORIGIN, "comma-separated origins like https://host or https://host:port",
        "origins allowed besides the request's own host",
    )  # fmt: skip
    ping_interval_ms: int = integer(
        "LIVE_WS_PING_INTERVAL_MS", 30_000, 100, 3_600_000,
        "quiet time before a ping; a peer that then stays silent for another half of it is dropped",
    )  # fmt: skip
    drain_timeout_ms: int = integer(
        "LIVE_WS_DRAIN_TIMEOUT_MS", 5_000, 0, 600_000, "what a stop may take to say goodbye to every client"
    )
    max_connections: int = integer("LIVE_WS_MAX_CONNECTIONS", 20_000, 1, 1_000_000, "connections of this process")
    max_connections_per_user: int = integer("LIVE_WS_MAX_CONNECTIONS_PER_USER", 20, 1, 1_000_000, "of one user")
    max_subscriptions: int = integer("LIVE_WS_MAX_SUBSCRIPTIONS", 20, 1, 10_000, "topics of one connection")
    max_commands_per_second: int = integer(
        "LIVE_WS_MAX_COMMANDS_PER_SECOND", 10, 1, 10_000, "of one connection; twice as many in a burst"
    )
    backpressure_threshold_bytes: int = integer(
        "LIVE_WS_BACKPRESSURE_THRESHOLD_BYTES", 65_536, 1_024, 16_777_216,
        "unsent bytes before a client counts as behind",
    )  # fmt: skip
    slow_timeout_ms: int = integer(
        "LIVE_WS_SLOW_TIMEOUT_MS", 60_000, 100, 3_600_000,
        "a client that is behind and reads nothing for so long is closed",
    )  # fmt: skip
    compression: bool = flag(
        "LIVE_WS_COMPRESSION",
        "compress positions, once per topic, for clients that offer permessage-deflate",
        default=True,
    )
    flush_interval_ms: int = integer(
        "LIVE_FLUSH_INTERVAL_MS", 20, 0, 1_000, "how long positions may gather for one write per client"
    )
    include_attributes: bool = flag("LIVE_INCLUDE_ATTRIBUTES", "send each position's `attributes` too", default=False)

    def __post_init__(self) -> None:
        if not self.instance_id:
            object.__setattr__(self, "instance_id", _unique_instance())


SETTINGS: web.AppKey[Settings] = web.AppKey("settings", Settings)
"""The core's settings, for plugins that pace or name themselves by them."""
