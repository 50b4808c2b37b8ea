"""Which plugins take part, and in which order?"""

import importlib
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from aiohttp import web

from processor_live.failure import StartError, one_line
from processor_live.slots import AUTHORIZE, ROUTE, SNAPSHOT, SlotTakenError

ENTRY_POINTS = "processor_live.plugins"

Setup = Callable[[web.Application], None]


def install(app: web.Application, names: Sequence[str]) -> None:
    """Call each named plugin's `setup(app)`, in this order; nothing else is loaded.

    Raises `StartError` when a plugin is unknown, named twice or cannot be imported, or when two answer the same slot.
    """
    owners: dict[str, str] = {}
    for name in names:
        if names.count(name) > 1:
            raise StartError(f"processor-live: LIVE_PLUGINS names {name!r} twice")
        setup = find(name)
        try:
            setup(app)
        except SlotTakenError as error:
            taken = str(error)
            raise StartError(
                f"processor-live: the plugins {owners[taken]!r} and {name!r} in LIVE_PLUGINS both fill the slot "
                f"{taken}: only one may decide"
            ) from None
        for slot in (app[AUTHORIZE], app[SNAPSHOT], app[ROUTE]):
            if slot.filled:
                owners.setdefault(slot.name, name)


def find(name: str) -> Setup:
    """Return the `setup` of a plugin: `name` is that of an entry point, or `module:function`. Raise `StartError`."""
    try:
        if ":" in name:
            module, _, function = name.partition(":")
            return _callable(name, getattr(importlib.import_module(module), function))
        candidates = entry_points(group=ENTRY_POINTS)
        chosen = [point for point in candidates if point.name == name]
        if len(chosen) == 1:
            return _callable(name, chosen[0].load())
    except (ImportError, AttributeError) as error:
        raise StartError(
            f"processor-live: the plugin {name!r} in LIVE_PLUGINS cannot be loaded: {one_line(error)}"
        ) from None
    if chosen:
        homes = ", ".join(point.value for point in chosen)
        raise StartError(
            f"processor-live: several packages call a plugin {name!r} ({homes}): name one as module:function"
        )
    known = ", ".join(sorted({point.name for point in candidates}))
    raise StartError(f"processor-live: there is no plugin {name!r}, named in LIVE_PLUGINS: installed are {known}")


def _callable(name: str, found: object) -> Setup:
    if not callable(found):
        raise StartError(f"processor-live: the plugin {name!r} in LIVE_PLUGINS cannot be called: it must be a function")
    return found
