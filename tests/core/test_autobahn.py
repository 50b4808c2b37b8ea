"""The WebSocket stack as it serves viewers passes the cases of the Autobahn TestSuite, all of them."""

import os
import sys

import pytest
from kosoku import FailureError, run_fuzzingclient

from processor_live.connection import Connection
from processor_live.framing import deflated_frame, text_frame
from tests.core.door import Start
from tests.core.stranger import BINARY, TEXT, deflated

WHOLE = "PROCESSOR_LIVE_TEST_AUTOBAHN"
"""Set by the tox environment `autobahn`: the large and the many messages (9, 12 and 13), too."""
LARGE = ("9.*", "12.*", "13.*")
LARGEST_BYTES = 16_777_216
SMALLEST_WINDOW_BITS = 9
"""What any client can inflate, whatever was agreed on."""


class Echo:
    """Stands where the commands of a connection wait, and says again what it hears, compressed where that is agreed."""

    def __init__(self, connection: Connection, *_: object) -> None:
        self._transport = connection._transport
        self._deflates = connection._ws._reader._inflates

    def put(self, message: str | bytes) -> None:
        framed = self._framed(message.encode() if isinstance(message, str) else message)
        to_binary = 0 if isinstance(message, str) else TEXT ^ BINARY
        self._transport.write(bytes([framed[0] ^ to_binary]) + framed[1:])

    def _framed(self, payload: bytes) -> bytes:
        if self._deflates:
            return deflated_frame(deflated(payload, level=1, window_bits=SMALLEST_WINDOW_BITS))
        return text_frame(payload)

    async def close(self) -> None:
        pass


@pytest.mark.timeout(7_200)  # the whole; the fast part takes seconds
@pytest.mark.filterwarnings("ignore:unclosed file .*kosoku:ResourceWarning")  # the suite's own test data
async def test_all_cases_pass(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processor_live.endpoint.CommandQueue", Echo)
    monkeypatch.setattr("processor_live.endpoint.MAX_MESSAGE_BYTES", LARGEST_BYTES)
    monkeypatch.setattr("processor_live.handshake.cookie_of", lambda _: "the suite has none")
    browser = await start()
    whole = WHOLE in os.environ
    try:
        results = await run_fuzzingclient(
            f"ws://127.0.0.1:{browser.port}/", exclude_cases=() if whole else LARGE, concurrency=1 if whole else 8
        )
    except FailureError as failure:
        results = failure.results
    finally:
        sys.modules.pop("pkg_resources", None)  # the suite's stand-in: pytest would take it for the real one
    assert [each.case_id for each in results if not each.passed] == []
    assert len(results) == (517 if whole else 247)
