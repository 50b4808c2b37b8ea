"""Which situations are measured?"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A crowd, a stream, and what is special about them."""

    name: str
    about: str
    clients: int
    rate: int
    """Records a second, over all topics."""
    topics: int = 1
    devices: int = 40
    """In each topic."""
    slow: int = 0
    """Clients that read 2 kB/s, until the load is over: then they must end on the newest position of every device."""
    in_flight: int = 64
    """Handshakes under way at once."""
    extensions: str = ""
    """What the clients offer as `Sec-WebSocket-Extensions`."""
    warm_up_s: float = 2.0
    seconds: float = 10.0
    """The measured window."""


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="smoke", about="is nothing lost? a short look", clients=50, rate=200, seconds=3, topics=2),
        Scenario(name="quiet", about="nothing can be joined: every position is a write", clients=100, rate=10),
        Scenario(name="stroll", about="what JSON per client can still do", clients=1_000, rate=50),
        Scenario(name="jog", about="where JSON per client ends", clients=1_000, rate=100),
        Scenario(name="rally", about="an ordinary race day", clients=1_000, rate=400),
        Scenario(name="crowd", about="everybody looks at one event", clients=5_000, rate=100),
        Scenario(name="many", about="the more the merrier", clients=10_000, rate=20, in_flight=500),
        Scenario(name="flood", about="many devices", clients=1_000, rate=2_000, devices=200),
        Scenario(name="torrent", about="more than any event has", clients=1_000, rate=4_000, devices=400),
        Scenario(name="slow", about="a fifth reads 2 kB/s", clients=1_000, rate=400, slow=200),
        Scenario(name="storm", about="all come back at once", clients=2_000, rate=400, in_flight=2_000),
        Scenario(name="many-events", about="of 20 viewers each", clients=4_000, rate=1_000, topics=200, devices=5),
        Scenario(name="unwatched", about="one viewer of 200 events", clients=1, rate=12_000, topics=200, devices=25),
        Scenario(
            name="compressed",
            about="rally, and all clients offer permessage-deflate",
            clients=1_000,
            rate=400,
            extensions="permessage-deflate; client_max_window_bits",
        ),
    )
}  # fmt: skip
