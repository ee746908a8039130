"""Socket Mode: the open WebSockets, and the envelopes that travel over them."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from sandbox.slack.workspace import Json, Workspace

MOST_SOCKETS = 10
ACK_WITHIN = 3.0
# Events only: at once, after a minute, after five.
RETRY_AFTER = (0.0, 60.0, 300.0)
TIMED_OUT = "operation_timeout"
NOBODY_THERE = "dispatch_failed"


@dataclass(eq=False)
class Socket:
    number: int
    wire: web.WebSocketResponse
    request: web.Request
    delivered: list[Json] = field(default_factory=list)


@dataclass
class Outcome:
    """What became of one envelope. `acked_in` is in real seconds."""

    envelope: Json
    socket: int | None = None
    acked_in: float | None = None
    body: Json | None = None
    failed: str = ""


class Sockets:
    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.open: list[Socket] = []
        self.outcomes: list[Outcome] = []
        self.ignoring_acks = False
        self.silent = False
        self._tickets: set[str] = set()
        self._waiting: dict[str, asyncio.Future[Json | None]] = {}
        self._numbers = 0

    def ticket(self) -> str:
        """Opens one WebSocket, once."""
        ticket = uuid.uuid4().hex
        self._tickets.add(ticket)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=401)
        self._tickets.remove(ticket)
        wire = web.WebSocketResponse(autoping=False, heartbeat=30)
        await wire.prepare(request)
        if len(self.open) >= MOST_SOCKETS:
            await wire.send_json(self._disconnect_frame("too_many_websockets"))
            await wire.close()
            return wire
        with self._joined(wire, request) as socket:
            await wire.send_json(self._hello_frame())
            await self._listen(socket)
        return wire

    @contextmanager
    def _joined(self, wire: web.WebSocketResponse, request: web.Request) -> Iterator[Socket]:
        self._numbers += 1
        socket = Socket(self._numbers, wire, request)
        self.open.append(socket)
        self._workspace.changes.tell()
        try:
            yield socket
        finally:
            self._leave(socket)

    def _leave(self, socket: Socket) -> None:
        if socket in self.open:
            self.open.remove(socket)
            self._workspace.changes.tell()

    async def _listen(self, socket: Socket) -> None:
        async for frame in socket.wire:
            if frame.type is WSMsgType.TEXT:
                self._acknowledge(json.loads(frame.data))
            elif frame.type is WSMsgType.PING and not self.silent:
                await socket.wire.pong(frame.data)

    def _acknowledge(self, frame: Json) -> None:
        waiting = self._waiting.get(str(frame.get("envelope_id")))
        if waiting and not waiting.done() and not (self.ignoring_acks or self.silent):
            waiting.set_result(frame.get("payload"))

    async def deliver(self, kind: str, payload: Json, **envelope_fields: object) -> Outcome:
        """To one open socket, whichever chance picks; back when it is acked or the time is over."""
        envelope: Json = {"envelope_id": str(uuid.uuid4()), "payload": payload, "type": kind, **envelope_fields}
        outcome = Outcome(envelope)
        self.outcomes.append(outcome)
        if not self.open:
            outcome.failed = NOBODY_THERE
        else:
            await self._send(self._workspace.rng.choice(self.open), outcome)
        self._workspace.changes.tell()
        return outcome

    async def _send(self, socket: Socket, outcome: Outcome) -> None:
        clock, envelope_id = self._workspace.clock, outcome.envelope["envelope_id"]
        waiting: asyncio.Future[Json | None] = asyncio.get_running_loop().create_future()
        self._waiting[envelope_id] = waiting
        outcome.socket = socket.number
        socket.delivered.append(outcome.envelope)
        self._workspace.changes.tell()
        began = clock.monotonic()
        try:
            async with asyncio.timeout(clock.real(ACK_WITHIN)):
                if not self.silent:
                    await socket.wire.send_json(outcome.envelope)
                outcome.body = await waiting
                outcome.acked_in = clock.monotonic() - began
        except (TimeoutError, ConnectionError):
            outcome.failed = TIMED_OUT
        finally:
            del self._waiting[envelope_id]

    async def deliver_event(self, payload: Json) -> Outcome:
        return await self._attempt_event(payload, 0, "")

    async def retry_event(self, payload: Json) -> None:
        """Up to three times more, until somebody acks: Slack does so for events, never for clicks and commands."""
        for attempt, pause in enumerate(RETRY_AFTER, start=1):
            await self._workspace.clock.sleep(pause)
            outcome = await self._attempt_event(payload, attempt, "timeout")
            if outcome.acked_in is not None:
                return

    async def _attempt_event(self, payload: Json, attempt: int, reason: str) -> Outcome:
        return await self.deliver(
            "events_api", payload, accepts_response_payload=False, retry_attempt=attempt, retry_reason=reason
        )

    async def disconnect(self, reason: str) -> None:
        """Asks every client to come again by `warning` or `refresh_requested`; the clients close the old sockets."""
        for socket in list(self.open):
            await socket.wire.send_json(self._disconnect_frame(reason))

    def drop(self) -> None:
        """Cuts every socket without a word."""
        for socket in list(self.open):
            self._leave(socket)
            if socket.request.transport:
                socket.request.transport.abort()

    async def close(self) -> None:
        for socket in list(self.open):
            await socket.wire.close()

    def _hello_frame(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self.open),
            "debug_info": {**self._host, "build_number": 1, "approximate_connection_time": 18060},
            "connection_info": {"app_id": self._workspace.app_id},
        }

    def _disconnect_frame(self, reason: str) -> Json:
        return {"type": "disconnect", "reason": reason, "debug_info": self._host}

    @property
    def _host(self) -> Json:
        return {"host": "applink-sandbox"}
