"""Where may Postgres be, and what is tried first?

libpq is given one address at a time. Of several it looks up the names on the loop's own thread, knows no timeout that
would lead it past one that says nothing, and goes on over another socket, of which aiopg does not learn.
"""

import asyncio
import socket
from collections.abc import Mapping

Parameters = dict[str, str]
"""Of a connection, as libpq names them."""

_LISTS = ("host", "hostaddr", "port")
_WISHES: Mapping[str, tuple[Parameters, ...]] = {
    "read-write": ({"target_session_attrs": "primary"},),
    "prefer-standby": ({"target_session_attrs": "standby"}, {"target_session_attrs": "any"}),
}
"""What `target_session_attrs` means for connections that are always read-only, and for one server after another."""


def servers_of(parameters: Parameters) -> list[Parameters]:
    """Return the parameters of each server that these name, in the order in which they are to be tried.

    Raises `ValueError` when there are neither as many ports as hosts nor one for all, or when one is no number.
    """
    lists = {name: parameters[name].split(",") for name in _LISTS if name in parameters}
    ports = lists.get("port", [])
    if not all(port.isdecimal() for port in ports if port):
        raise ValueError("a port is a number")
    if len(ports) == 1:
        lists["port"] = ports * max(map(len, lists.values()))
    servers = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    wishes = _WISHES.get(parameters.get("target_session_attrs", ""), ({},))
    return [{**parameters, **server, **wish} for wish in wishes for server in servers or [{}]]


async def addresses_of(server: Parameters) -> list[Parameters]:
    """Return the parameters of each address of a server. Raises `OSError` when its name cannot be looked up."""
    host = server.get("host", "")
    if not host or host.startswith(("/", "@")) or server.get("hostaddr"):
        return [server]  # a Unix socket, or the operator has said it all
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [{**server, "hostaddr": address} for address in dict.fromkeys(str(address[0]) for *_, address in found)]
