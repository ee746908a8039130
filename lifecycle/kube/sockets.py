"""The connections of one client: how long an unused one is kept, and how a dead one is noticed.

Three kinds of silence look the same to whoever waits for an answer:

- The machine at the other end, or the way to it, is gone (a cable, a NAT that forgot, a load balancer that failed
  over). Nothing is acknowledged any more: TCP keepalive and TCP_USER_TIMEOUT end the connection after ``dead`` seconds,
  or sooner where somebody answers with a reset. It is the only sign on a watch, which may be quiet for long.
- Something in between accepts every byte and passes nothing on (a proxy whose other side is gone). Only a new
  connection helps, and only a time limit tells; an unused connection is therefore not kept for long.
- The API server is frozen or overloaded. Its kernel acknowledges, and a new connection is as silent as the old ones,
  which go on when it does: nothing is gained by closing them before their time.
"""

import socket
from functools import partial
from typing import Any

import aiohttp


def attach(client: Any, *, idle: float, dead: float) -> None:
    """Make the client, which has not been used yet, keep its connections so. All in seconds.

    aiohttp keeps an unused connection for 15 s and takes the oldest first; neither is a setting of the client's.
    """
    rest = client.rest_client
    connector = partial(
        aiohttp.TCPConnector,
        limit=rest.maxsize,
        ssl=rest.ssl_context,
        keepalive_timeout=idle,
        socket_factory=partial(_socket, dead),
    )
    rest._create_connector = connector  # its place to customize (RESTClientObject, 37.0.2)


def _socket(dead: float, address: Any) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _options(dead).items():
        if hasattr(socket, name):  # Linux has them all
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


def _options(dead: float) -> dict[str, int]:
    """Two questions on a connection that is quiet, and the end if neither they nor sent bytes are acknowledged."""
    pause = max(1, round(dead / 3))
    return {
        "TCP_KEEPIDLE": pause,
        "TCP_KEEPINTVL": pause,
        "TCP_KEEPCNT": 2,
        "TCP_USER_TIMEOUT": round(dead * 1000),  # milliseconds; where it is known it decides, not the count
    }
