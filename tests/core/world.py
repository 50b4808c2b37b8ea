"""A rally in small, for all that can happen at the same time: devices, stores, the service, and who watches."""

import asyncio

from processor_live.connection import Connection
from processor_live.protocol import Verdict
from tests.core.database import Database
from tests.core.expectation import Expectation
from tests.core.service import Service
from tests.core.spectator import Spectator
from tests.core.stream import Stream

THRESHOLDS = (60, 60, 400)
"""Less than any message: who stops reading lags after the next one, and is served one at a time; or a few at a time."""
SPECTATORS = len(THRESHOLDS)
EPOCH_MS = 10
"""What the `ts` of records are counted from."""


class World:
    """Everything around the service happens when the test says so."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.database = Database(self.stream.reports)
        self.verdict: Verdict | None = Verdict.ALLOW
        """Directus; None when its plugin raises."""
        self.spectators = [
            Spectator(self.database, inflates=number > 0, threshold=threshold)
            for number, threshold in enumerate(THRESHOLDS)
        ]
        self._reported = EPOCH_MS
        self._lives = 0
        self._start()

    def _start(self) -> None:
        self._lives += 1
        self.service = Service(f"life-{self._lives}", self.stream, self.database, self._authorize, self._will_be_shown)

    async def _authorize(self, *_: object) -> Verdict:
        await asyncio.sleep(0)
        if self.verdict is None:
            raise RuntimeError("the authorization plugin has a bug")
        return self.verdict

    def _will_be_shown(self, connection: Connection, topic: str, expected: Expectation) -> None:
        for spectator in self.spectators:
            if spectator.client is not None and spectator.client.connection is connection:
                spectator.will_be_shown(topic, expected)

    # What can happen, besides what spectators and operators do.

    def report(self, *records: tuple[str, int]) -> None:
        """Let devices report, each so much earlier than now; what is later than now will be reported once more."""
        for device, early in records:
            self._reported += 1
            self.stream.add(device, self._reported - early)

    def restart(self, *, gracefully: bool) -> None:
        """End the service, with a goodbye or without; another one is started in its place."""
        if gracefully:
            self.service.stop()
        else:
            self.service.kill()
            self._start()

    def look(self) -> None:
        """Let everybody see what has come of it; to be called after every turn."""
        self.service.check()
        for spectator in self.spectators:
            spectator.look()
        if self.service.stopping is not None and self.service.stopping.done():
            self.restart(gracefully=False)

    # What follows in the end.

    def heal(self) -> None:
        """Let everything work again and everybody read."""
        self.stream.is_down = self.database.is_down = False
        self.stream.fill(False)
        self.verdict = Verdict.ALLOW
        for spectator in self.spectators:
            spectator.read_all()

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way any more."""
        waiting = any(spectator.waits for spectator in self.spectators)
        return self.service.welcoming and self.service.quiet and not waiting

    def let_in(self, spectator: Spectator) -> None:
        """Let somebody come to the life that there is at this moment, and not to one that has just ended."""
        spectator.come(self.service)

    def check_that_all_are_up_to_date(self) -> None:
        """G3 and G4: nobody is behind what the devices have reported, an operator's flags aside."""
        for spectator in self.spectators:
            assert spectator.client is None or spectator.held.keys() == spectator.client.connection.topics
            for topic, shown in spectator.held.items() if spectator.client else ():
                for device in self.database.registered[topic]:
                    self._check(topic, device, shown)

    def _check(self, topic: str, device: str, shown: dict[str, int]) -> None:
        newest = self.database.newest(device, [ts for name, ts in self.stream.reports if name == device])
        # Who joined while a device was out of the topic waits for its next position.
        is_away = device not in shown and self.service.returned.get((topic, device), 0) >= (newest or 0)
        assert newest is None or is_away or shown.get(device, 0) == newest
