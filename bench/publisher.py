"""How do the records get onto the stream? By the clock, whatever becomes of them: an open loop.

Run as a process of its own: python -m bench.publisher REDIS_URL STREAM FIRST_IMEI DEVICES RATE SECONDS. It prints, as
JSON, the newest `ts` of every device, how many records it sent, and by how much it fell behind its own schedule.
"""

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

from redis import Redis

TICK_S = 0.004
"""Between two looks at the schedule: the records that have become due go out together, as devices report."""
ATTRIBUTES = json.dumps({str(number): number * 7 for number in range(1, 25)})


def publish(  # noqa: PLR0913, PLR0917 - its command line
    redis_url: str, stream: str, first_imei: int, devices: int, rate: int, seconds: float
) -> dict[str, object]:
    """Send `rate` records a second for `seconds`, the devices taking turns; each is dated when it is sent."""
    newest = [0] * devices
    sent = 0
    worst_s = 0.0
    began = time.monotonic()
    with Redis.from_url(redis_url) as redis:
        while sent < rate * seconds:
            elapsed = time.monotonic() - began
            due = min(int(elapsed * rate) + 1, int(rate * seconds))
            if due > sent:
                worst_s = max(worst_s, elapsed - sent / rate)
            pipeline = redis.pipeline(transaction=False)
            for number in range(sent, due):
                device = number % devices
                newest[device] = max(newest[device] + 1, time.time_ns() // 1_000_000)
                pipeline.xadd(stream, entry(first_imei + device, newest[device]), maxlen=1_000_000)
            pipeline.execute()
            sent = due
            time.sleep(TICK_S)
    return {"newest": newest, "sent": sent, "behind_s": worst_s}


def entry(imei: int, ts: int) -> dict[Any, Any]:
    """Return a stream entry as the ingestion service writes it, some 600 bytes."""
    moment = datetime.fromtimestamp(ts / 1000, UTC).isoformat()
    place = ts % 100_000 / 100_000
    # not json.dumps: the publisher shares its core with the viewers, and this is a third of the work
    payload = (
        f'{{"device_id":"{imei}","timestamp":"{moment}","latitude":{42 + place:.7f},"longitude":{19 + place / 2:.7f},'
        f'"altitude":412,"angle":{ts % 359 + 1},"speed":{ts % 120 + 1},"satellites":11,"priority":0,'
        f'"attributes":{ATTRIBUTES}}}'
    )
    return {"ts": moment, "device_id": str(imei), "codec": "8E", "payload": payload}


def main() -> None:
    """Run the command line."""
    redis_url, stream, first_imei, devices, rate, seconds = sys.argv[1:]
    print(json.dumps(publish(redis_url, stream, int(first_imei), int(devices), int(rate), float(seconds))))


if __name__ == "__main__":
    main()
