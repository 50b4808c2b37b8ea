"""A failure reads as one line."""

import pytest

from processor_live.failure import StartError, one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("bad value"), "ValueError: bad value"),
        (TimeoutError(), "TimeoutError"),
        (OSError("first\n  second\tthird\n"), "OSError: first second third"),
        (KeyError("key"), "KeyError: 'key'"),
    ],
)
def test_an_error_is_its_type_and_its_message_on_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_a_start_error_ends_the_process_with_its_message() -> None:
    error = StartError("processor-live: no")
    assert isinstance(error, SystemExit)
    assert error.code == "processor-live: no"
