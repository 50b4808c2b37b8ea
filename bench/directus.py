"""The stand-in Directus as a process of its own, so that its work is not the service's.

python -m bench.directus EVENT... prints its URL and the `Cookie` header of a user who may follow all the events.
"""

import asyncio
import sys

from aiohttp import web

from processor_live_demo.access import Access, User
from processor_live_demo.directus import make_directus


async def main() -> None:
    """Answer until the process is killed."""
    access = Access([User(email="bench@rally.example", password="bench", events=set(sys.argv[1:]))])
    runner = web.AppRunner(make_directus(access), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]} {access.sign_in('bench@rally.example')}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
