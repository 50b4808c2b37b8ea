"""What does an operator see of the core?

Counters of this process on prometheus_client's registry; each plugin adds its own the same way. All names begin with
`live_`, no label carries a user, a device or a topic.
"""

from prometheus_client import Counter, Gauge, Histogram

CONNECTIONS = Gauge("live_connections", "Open WebSocket connections")
ROOM = Gauge("live_max_connections", "Connections that there is room for, by the settings and the limit of open files")
TURNED_AWAY = Counter("live_turned_away_total", "Connections refused for lack of open files, before their handshake")
HANDSHAKES = Counter("live_handshakes_total", "Handshakes by the status they were answered with", ["status"])
DISCONNECTS = Counter("live_disconnects_total", "Closed connections by close code, 1006 when there was none", ["code"])
SUBSCRIPTIONS = Gauge("live_subscriptions", "Topics held, summed over all connections")
TOPICS = Gauge("live_topics", "Topics with at least one member")
COMMANDS = Counter("live_commands_total", "Client commands by how they were answered", ["answer"])
SUBSCRIBE_SECONDS = Histogram("live_subscribe_seconds", "From the start of a subscribe to its answer")

POSITIONS = Counter("live_positions_total", "Positions published, by what they were to the latest table", ["news"])
ORPHANS = Counter("live_orphans_total", "Newest positions of devices that are in no topic")
FORGOTTEN = Counter("live_forgotten_devices_total", "Devices in no topic forgotten for there are too many of them")
DELIVERIES = Counter("live_deliveries_total", "Positions written to a client's transport")
CONFLATED = Counter("live_conflated_total", "Positions replaced by a newer one before a lagging client could take them")
LAGGING = Gauge("live_lagging_connections", "Connections that do not keep up and get only the newest positions")
FLUSH_SECONDS = Histogram(
    "live_flush_seconds",
    "One flush of all pending topics",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
FLUSH_INTERVAL = Gauge("live_flush_interval_seconds", "The interval in effect between two flushes")
SNAPSHOT_FAILURES = Counter("live_snapshot_failures_total", "Subscribes answered without the durable store")
PLUGIN_FAILURES = Counter("live_plugin_failures_total", "Calls of a plugin that raised, by slot or signal", ["call"])
CHECKS = Gauge("live_check", "State of a readiness check: 1 good, 0 failing", ["check"])
