"""What may a plugin author import? This, and nothing else (docs/plugins.md)."""

from processor_live.background import run_in_background
from processor_live.connection import Connection, Identity
from processor_live.failure import StartError, one_line
from processor_live.flight import SingleFlight
from processor_live.handshake import IDENTITY, client_address, cookie_of, is_handshake, refusal, unavailable
from processor_live.health import HEALTH, Check, Health
from processor_live.hub import HUB, Hub
from processor_live.position import FULL_TURN_DEGREES, MAX_SPEED_KMH, Position, Row, epoch_ms, known
from processor_live.protocol import Verdict
from processor_live.settings import ENVIRON, SETTINGS, Settings, flag, integer, load, text, url, words
from processor_live.signals import CONNECTED, DISCONNECTED, SUBSCRIBED, UNSUBSCRIBED
from processor_live.slots import AUTHORIZE, ROUTE, SNAPSHOT

__all__ = [
    "AUTHORIZE", "CONNECTED", "DISCONNECTED", "ENVIRON", "FULL_TURN_DEGREES", "HEALTH", "HUB", "IDENTITY",
    "MAX_SPEED_KMH", "ROUTE", "SETTINGS", "SNAPSHOT", "SUBSCRIBED", "UNSUBSCRIBED",
    "Check", "Connection", "Health", "Hub", "Identity", "Position", "Row", "Settings", "SingleFlight", "StartError",
    "Verdict", "client_address", "cookie_of", "epoch_ms", "flag", "integer", "is_handshake", "known", "load",
    "one_line", "refusal", "run_in_background", "text", "unavailable", "url", "words",
]  # fmt: skip
