"""A command in a container over a WebSocket, in the channels that kubectl and the official clients speak."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from aiohttp import web

from sandbox.kubernetes import status
from sandbox.kubernetes.call import TRUE, Call
from sandbox.kubernetes.resources import PODS, Object
from sandbox.kubernetes.store import Store

PodLogs = Callable[[str, str, str, int | None, bool], Awaitable[str]]
"""(namespace, pod, container, tail lines, previous) to text; may raise ApiError."""
Ending = tuple[int, str, str]
"""Exit code, stdout, stderr."""
PodExec = Callable[[str, str, str, Sequence[str]], Coroutine[Any, Any, Ending]]
"""(namespace, pod, container, command) to its end; may raise ApiError before it waits for anything."""

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDOUT, _STDERR, _STATUS = b"\x01", b"\x02", b"\x03"
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def chosen_container(store: Store, call: Call) -> str:
    """The container that is meant. Raises ApiError: 404 no such pod, 400 no such container or several."""
    pod = store.get(PODS, call.target.namespace, call.target.name)
    names = [one["name"] for key in ("containers", "initContainers") for one in pod["spec"].get(key) or []]
    asked = call.query.get("container") or (pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
    if asked and asked not in names:
        raise status.bad_request(f"container {asked} is not valid for pod {call.target.name}")
    if not asked and len(pod["spec"].get("containers", [])) > 1:
        listed = " ".join(names)
        raise status.bad_request(
            f"a container name must be specified for pod {call.target.name}, choose one of: [{listed}]"
        )
    return str(asked or names[0])


async def read_log(store: Store, call: Call, logs: PodLogs) -> str:
    """The log up to now; following it ends at once."""
    container = chosen_container(store, call)
    tail = call.query.get("tailLines")
    previous = call.query.get("previous") in TRUE
    lines = int(tail) if tail else None
    return await logs(call.target.namespace, call.target.name, container, lines, previous)


async def run_command(request: web.Request, store: Store, call: Call, run: PodExec) -> web.WebSocketResponse:
    container = chosen_container(store, call)
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise status.bad_request("Upgrade request required")
    if not call.commands:
        raise status.bad_request("you must specify at least 1 command for the container")
    wanted = {name for name in ("stdout", "stderr") if call.query.get(name) in TRUE}
    return await converse(request, wanted, run(call.target.namespace, call.target.name, container, call.commands))


async def converse(
    request: web.Request, wanted: set[str], command: Coroutine[Any, Any, Ending]
) -> web.WebSocketResponse:
    """Send what a command writes, of the streams that are wanted, and how it ends.

    What refuses at once does so before the upgrade; a command that takes its time is waited for after it.
    """
    running = asyncio.create_task(command)
    try:
        await asyncio.wait({running}, timeout=0)
        if running.done():
            running.result()
        socket = web.WebSocketResponse(protocols=_PROTOCOLS, timeout=0.5)
        await socket.prepare(request)
        await _tell(socket, wanted, *await running)
    finally:
        running.cancel()
    return socket


async def _tell(socket: web.WebSocketResponse, wanted: set[str], code: int, stdout: str, stderr: str) -> None:
    for channel, name, text in ((_STDOUT, "stdout", stdout), (_STDERR, "stderr", stderr)):
        if text and name in wanted:
            await socket.send_bytes(channel + text.encode())
    await socket.send_bytes(_STATUS + json.dumps(_outcome(code)).encode())
    await socket.close()


def _outcome(code: int) -> Object:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
