"""A crowd of viewers loses the service and comes back, each with a session of their own, to a Directus that is slow."""

import pytest

from processor_live_demo.access import Access
from processor_live_demo.embedded import free_port
from tests.busy_directus import BusyDirectus
from tests.crowd import Crowd
from tests.integration.process import SERVE, Start, logged
from tests.servers import Database

VIEWERS = 600
ANSWERS_PER_SECOND = 150
"""Two for each viewer: eight seconds' work, so that not everybody can be served within the patience of a viewer."""
PATIENCE_SECONDS = 4.5
"""Less a little: that of the service is 4.8 s."""


@pytest.mark.usefixtures("platform")
async def test_who_has_got_in_is_served_and_the_rest_are_told_when_to_come_back(
    start: Start, database: Database, access: Access, event: str, topic: str
) -> None:
    database.register(event, "1")
    port = free_port()
    settings = {"LIVE_WS_PORT": str(port), "LIVE_WS_MAX_CONNECTIONS_PER_USER": str(VIEWERS)}
    cookies = [f"session={number}" for number in range(VIEWERS)]
    BusyDirectus(access, 10_000)
    process = await start(*SERVE, **settings)
    await logged(process, r"check\.good check=fanout")
    with Crowd(port, topic) as crowd:
        await crowd.come(cookies, within_s=1)
        process.kill()
        await process.wait()
    directus = BusyDirectus(access, ANSWERS_PER_SECOND)
    process = await start(*SERVE, **settings)
    await logged(process, r"check\.good check=fanout")
    with Crowd(port, topic) as crowd:
        await crowd.come(cookies, within_s=0.5)
        assert len(crowd.viewers) == VIEWERS
    assert crowd.undecided == 0, "whoever has got in may also follow"
    assert directus.answered["events"] == VIEWERS
    assert min(refusal.after_s for refusal in crowd.refusals) > PATIENCE_SECONDS, "nobody before their time was over"
    assert len({refusal.retry_after_s for refusal in crowd.refusals}) > 1, "not all at the same time"
