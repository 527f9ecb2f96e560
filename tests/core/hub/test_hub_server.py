"""The tests' own hub leaves nothing behind."""

import http.client
import threading

from tests.core.hub.hub_server import HubServer, Model, running_hub


def keep_asking(hub: HubServer) -> http.client.HTTPConnection:
    """A connection that was used and stays open for more, as the hub's own library has it."""
    connection = http.client.HTTPConnection(hub.address.removeprefix("http://"))
    connection.request("GET", "/api/models/me/mine/revision/main")
    assert connection.getresponse().read()
    return connection


def test_no_thread_outlives_it_however_many_connections_are_open() -> None:
    before = threading.enumerate()
    with running_hub() as hub:
        hub.add(Model("me/mine", {"config.json": b"{}"}))
        connections = [keep_asking(hub) for _ in range(3)]
        assert len(threading.enumerate()) == len(before) + 2 + 3
    assert threading.enumerate() == before
    for connection in connections:
        connection.close()
