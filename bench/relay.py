"""How do the peers get the positions? From the same stream, made ready for them here, outside their accounts.

python -m bench.relay REDIS_URL STREAM TOPIC reads the stream from now on and writes each position message to stdout, as
a line of JSON.
"""

import json
import sys
from datetime import datetime
from typing import Any

from redis import Redis


def message(topic: str, payload: bytes) -> bytes:
    """Return the line of a position."""
    record = json.loads(payload)
    position = {
        "type": "position",
        "topic": topic,
        "deviceId": record["device_id"],
        "lat": record["latitude"],
        "lon": record["longitude"],
        "ts": round(datetime.fromisoformat(record["timestamp"]).timestamp() * 1000),
        "speed": record["speed"],
        "course": record["angle"],
    }
    return json.dumps(position, separators=(",", ":")).encode() + b"\n"


def main() -> None:
    """Relay for ever."""
    redis_url, stream, topic = sys.argv[1:]
    last = "$"
    with Redis.from_url(redis_url) as redis:
        while True:
            answer: Any = redis.xread({stream: last}, block=1_000)
            for _, entries in answer:
                last = entries[-1][0]
                sys.stdout.buffer.writelines(message(topic, fields[b"payload"]) for _, fields in entries)
                sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
