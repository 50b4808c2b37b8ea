"""A platform for each test, as in tests/integration; here tests may take minutes."""

from tests.integration.conftest import access, cookie, event, own_postgres, own_servers, platform, start, topic
from tests.integration.proxies.conftest import deploy

__all__ = ["access", "cookie", "deploy", "event", "own_postgres", "own_servers", "platform", "start", "topic"]
