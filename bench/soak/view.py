"""What has one viewer been shown, and was anything wrong with it? (docs/contract.md §5, without I/O)"""

from collections import Counter, deque
from typing import Any

from bench.report import tell

Message = dict[str, Any]

FEW = 5
"""Examples kept of each thing that was wrong."""


class Findings:
    """What was wrong, over all viewers: how often, and the first examples."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, what: str, example: str) -> None:
        """Note something that must not be."""
        self.counts[what] += 1
        examples = self.examples.setdefault(what, [])
        if len(examples) < FEW:
            examples.append(example)
            tell(f"  {what}: {example}")


class View:
    """The maps that a viewer sees, one for each topic; he remembers them from one connection to the next."""

    def __init__(self, who: str, findings: Findings) -> None:
        self._who = who
        self._findings = findings
        self._known: dict[str, dict[str, int]] = {}
        """The newest `ts` of every device that he has ever been shown, by topic."""
        self._next_id = 0
        self.held: dict[str, dict[str, int]] = {}
        """By topic that he follows now: the `ts` shown last of every device."""
        self.asked: deque[Message] = deque()
        """His commands that have not been answered yet."""
        self.positions = 0
        """Received, ever."""

    def begin(self) -> None:
        """Be connected anew: nothing is followed, nothing was asked."""
        self.held.clear()
        self.asked.clear()

    def command(self, kind: str, topic: str) -> Message:
        """Return a command to be sent now."""
        self._next_id += 1
        self.asked.append({"type": kind, "topic": topic, "id": str(self._next_id)})
        return self.asked[-1]

    def take(self, message: Message) -> None:
        """Apply a message as a client does, and note what is wrong with it."""
        topic = message["topic"]
        if message["type"] == "position":
            self._move(topic, message["deviceId"], message["ts"])
            return
        asked = self.asked.popleft() if self.asked else {}
        if (asked.get("id"), asked.get("topic")) != (message.get("id"), topic):
            self._wrong("answers out of order", f"{message['type']} {message.get('id')} to {asked}")
        match message["type"]:
            case "subscribed":
                self._show(topic, message["snapshot"])
            case "unsubscribed":
                self.held.pop(topic, None)
            case "error" if message["code"] == "error":
                pass  # Directus did not answer; what was held still is
            case _:
                self._wrong("unexpected answers", f"{message.get('code', message['type'])} to {asked}")

    def _move(self, topic: str, device: str, ts: int) -> None:
        self.positions += 1
        shown = self.held.get(topic)
        if shown is None:
            self._wrong("positions without a subscription", f"{topic} {device} {ts}")
            return
        if ts <= shown.get(device, -1):
            self._wrong("positions that went backwards", f"{topic} {device} {ts} after {shown[device]}")
        shown[device] = ts
        self._known[topic][device] = ts

    def _show(self, topic: str, snapshot: list[Message]) -> None:
        shown = {entry["deviceId"]: entry["ts"] for entry in snapshot}
        if len(shown) < len(snapshot):
            self._wrong("snapshots with a device twice", topic)
        for device, ts in self._known.get(topic, {}).items():
            if shown.get(device, -1) < ts:
                self._wrong("snapshots older than what was seen before", f"{topic} {device} {shown.get(device)} < {ts}")
        self.held[topic] = shown
        self._known[topic] = {**self._known.get(topic, {}), **shown}

    def _wrong(self, what: str, example: str) -> None:
        self._findings.add(what, f"{self._who}: {example}")
