"""The sandbox's own paths beside the API: faults on the wire, the record of writes, the way in for traffic."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web

from sandbox.kubernetes.faults import Fault, Faults, fault_from
from sandbox.kubernetes.writes import Write

Traffic = Callable[[str], Awaitable[tuple[int, str]]]
"""A namespace to (HTTP status, text): what a call from outside is answered."""


class Controlled(Protocol):
    """What of the API server these paths show and change."""

    faults: Faults
    writes: list[Write]
    requests: Counter[tuple[str, str]]
    traffic: Traffic | None


async def answer(server: Controlled, request: web.Request, path: list[str]) -> web.StreamResponse:
    """Answers `/sandbox/part/…`."""
    match [request.method, *path]:
        case ["GET", "faults"]:
            return web.json_response(server.faults.as_json())
        case ["POST", "faults"]:
            return await _add_faults(server, request)
        case ["DELETE", "faults"]:
            server.faults.clear()
            return web.json_response([])
        case ["GET", "writes"]:
            return web.json_response([write.as_json() for write in server.writes])
        case ["GET", "requests"]:
            return web.json_response({" ".join(key): count for key, count in server.requests.items()})
        case ["GET", "traffic", namespace, "mashping"] if server.traffic is not None:
            status, text = await server.traffic(namespace)
            return web.Response(status=status, text=text)
        case _:
            return web.json_response({"error": "no such path in the sandbox"}, status=404)


async def _add_faults(server: Controlled, request: web.Request) -> web.Response:
    """One rule or a list; `seed` beside a rule makes chance start anew. Nothing is added when one is wrong."""
    try:
        given = await request.json()
        rules = [_rule(server, values) for values in (given if isinstance(given, list) else [given])]
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    for rule in rules:
        server.faults.add(rule)
    return web.json_response(server.faults.as_json())


def _rule(server: Controlled, values: Any) -> Fault:
    if isinstance(values, dict) and isinstance(values.get("seed"), int):
        server.faults.reseed(values["seed"])
        values = {key: value for key, value in values.items() if key != "seed"}
    return fault_from(values)
