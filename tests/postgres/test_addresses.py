"""What a URL of several servers means is what libpq takes it for."""

import pytest
from psycopg2.extensions import parse_dsn

from processor_live_postgres.addresses import servers_of

SERVERS = {
    "host:1": ["host:1"],
    "host": ["host:None"],
    "a:1,b:2,c": ["a:1", "b:2", "c:"],
    "a,b/?port=7": ["a:7", "b:7"],
    "a,b": ["a:", "b:"],
    "%2Frun,[::1]:5": ["/run:", "::1:5"],
    "me@": ["None:None"],
}
"""Those of a URL, by their host and port; without either libpq looks into its environment, without a value it takes
its default."""


@pytest.mark.parametrize("url", SERVERS)
def test_each_host_has_its_own_port_or_all_have_one(url: str) -> None:
    servers = servers_of(parse_dsn(f"postgresql://{url}"))
    assert [f"{server.get('host')}:{server.get('port')}" for server in servers] == SERVERS[url]


def test_an_address_belongs_to_its_host_and_all_else_to_each() -> None:
    servers = servers_of({"host": "a,b", "hostaddr": "192.0.2.1,", "user": "live"})
    assert servers == [
        {"host": "a", "hostaddr": "192.0.2.1", "user": "live"},
        {"host": "b", "hostaddr": "", "user": "live"},
    ]


@pytest.mark.parametrize("port", ["1,2", "1,2,3,4", "one", "1,2,x", "-1"])
def test_ports_that_do_not_fit_are_refused(port: str) -> None:
    with pytest.raises(ValueError, match=r"number|argument"):
        servers_of({"host": "a,b,c", "port": port})


@pytest.mark.parametrize(
    ("wanted", "tried"),
    [
        ("read-write", ["a primary", "b primary"]),
        ("prefer-standby", ["a standby", "b standby", "a any", "b any"]),
        ("standby", ["a standby", "b standby"]),
    ],
)
def test_the_kind_of_server_that_is_wanted_is_looked_for_among_all(wanted: str, tried: list[str]) -> None:
    servers = servers_of({"host": "a,b", "target_session_attrs": wanted})
    assert [f"{server['host']} {server['target_session_attrs']}" for server in servers] == tried
