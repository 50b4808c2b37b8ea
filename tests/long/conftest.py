"""A platform for each test, as in tests/integration; here tests may take minutes."""

from tests.integration.conftest import access, cookie, event, platform, start, topic

__all__ = ["access", "cookie", "event", "platform", "start", "topic"]
