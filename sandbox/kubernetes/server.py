"""The API over HTTP: reads requests, lets faults and access rules have their say, answers, and records writes."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from aiohttp import web

from sandbox.kubernetes import control, rest, status
from sandbox.kubernetes.access import Identity, Wish, identify, refusal
from sandbox.kubernetes.call import Call, target_of
from sandbox.kubernetes.discovery import Discovery
from sandbox.kubernetes.faults import Fault, Faults
from sandbox.kubernetes.resources import RESOURCES, SECRETS, Resource
from sandbox.kubernetes.rest import Reply
from sandbox.kubernetes.status import ApiError
from sandbox.kubernetes.store import Feed, Store
from sandbox.kubernetes.terminal import PodExec, PodLogs, read_log, run_command
from sandbox.kubernetes.watches import Watch, WatchFaults
from sandbox.kubernetes.writes import Write, without_secrets

# the real server's limit
_LARGEST_BODY = 3 << 20
_SHUTDOWN_SECONDS = 0.05


async def _no_logs(*_: object) -> str:
    return ""


async def _no_exec(*_: object) -> tuple[int, str, str]:
    return 0, "", ""


class ApiServer:
    """Serves a store on 127.0.0.1. Can be stopped and started again: same port, same store, same tokens."""

    def __init__(
        self,
        store: Store,
        *,
        pod_logs: PodLogs = _no_logs,
        pod_exec: PodExec = _no_exec,
        traffic: control.Traffic | None = None,
        port: int = 0,
        bookmark_seconds: float = 5.0,
        served: Sequence[Resource] = RESOURCES,
    ) -> None:
        """`port` 0: any free one, kept from the first start on. `bookmark_seconds`: real time."""
        self.store = store
        self.discovery = Discovery(served)
        self.faults = Faults()
        self.writes: list[Write] = []
        self.requests: Counter[tuple[str, str]] = Counter()
        """How many requests there were by verb and resource (`statefulsets/scale` for a subresource)."""
        self.tokens: dict[str, Identity] = {}
        self.is_ready = True
        """What /readyz says: a server that has just started is not."""
        self.has_read_roles = True
        """Until a server that has just started has, it refuses everything, /readyz too."""
        self.traffic = traffic
        self._pod_logs = pod_logs
        self._pod_exec = pod_exec
        self._bookmark_seconds = bookmark_seconds
        self._port = port
        self._runner: web.AppRunner | None = None
        self._watching: set[Feed] = set()

    @property
    def url(self) -> str:
        """Known once the server was started."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # a client that goes away ends its watch
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Ends open watches and closes all connections; does nothing when it is not running."""
        if self._runner is None:
            return
        for feed in self._watching:
            feed.put_nowait(None)
        runner, self._runner = self._runner, None
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = [part for part in request.path.split("/") if part]
        match path:
            case ["sandbox", *rest_of_path]:
                return await control.answer(self, request, rest_of_path)
            case _ if not self.has_read_roles:
                error = status.failure(403, "Forbidden", "forbidden: the roles have not been read yet")
                return _response(Reply(error.status, error.body))
            case ["readyz", *_] if not self.is_ready:
                return web.Response(status=500, text="[-]informer-sync failed: reason withheld\nreadyz check failed\n")
            case ["healthz" | "readyz" | "livez", *_]:
                return web.Response(text="ok")
        try:
            return await self._serve(request, path)
        except ApiError as error:
            return _response(Reply(error.status, error.body))

    async def _serve(self, request: web.Request, path: list[str]) -> web.StreamResponse:
        identity = identify(request.headers.get("Authorization", ""), self.tokens)
        target = target_of(path)
        if target is None or not self.discovery.serves(target.resource):
            document = self.discovery.document(path)
            if document is None and not self.discovery.knows(path):
                return web.Response(status=404, text="404 page not found\n")
            if document is None:
                raise status.unknown_path()
            return _response(Reply(200, document))
        call = Call(
            identity,
            request.headers.get("User-Agent", ""),
            request.method,
            target,
            request.query,
            request.headers.get("Content-Type", "").partition(";")[0].strip(),
            request.headers.get("Accept", ""),
            await _body(request),
            request.query.getall("command", []),
        )
        self.requests[call.verb, call.resource_path] += 1
        return await self._attend(request, call)

    async def _attend(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Around the answer: what goes wrong on the wire, and the record."""
        met = self._faults_of(call)
        kinds = {fault.kind for fault in met}
        await asyncio.sleep(sum(fault.seconds for fault in met if fault.kind == "delay"))
        if "drop_before" in kinds:
            return _dropped(request)
        before = self._version(call, call.target.name)
        try:
            answered = await self._answer(request, call, met)
        except ApiError as error:
            answered = Reply(error.status, error.body)
        if isinstance(answered, web.StreamResponse):
            return answered
        if call.changes:
            self._record(call, answered, before)
        return _dropped(request) if "drop_after" in kinds else _response(answered)

    def _faults_of(self, call: Call) -> list[Fault]:
        if not self.faults.rules:
            return []
        target = call.target
        return self.faults.meeting(
            verb=call.verb,
            method=call.method,
            resource=call.resource_path,
            namespace=target.namespace,
            name=target.name,
        )

    async def _answer(self, request: web.Request, call: Call, met: list[Fault]) -> Reply | web.StreamResponse:
        _raise_faults(met)
        # anyone may ask what they may do
        if call.target.resource.is_stored:
            _require(call, call.wish)
        if call.verb == "watch":
            return await self._watch(request, call, met)
        match call.target.subresource:
            case "log":
                return web.Response(text=await read_log(self.store, call, self._pod_logs))
            case "exec":
                _require(call, replace(call.wish, verb="create"))  # a WebSocket is a GET: both are needed since 1.35
                return await run_command(request, self.store, call, self._pod_exec)
            case _:
                return rest.answer(self.store, call)

    async def _watch(self, request: web.Request, call: Call, met: list[Fault]) -> web.StreamResponse:
        watch = Watch(self.store, call, WatchFaults.of(met), self._bookmark_seconds)
        with self._feed() as feed:
            return await watch.serve(request, feed)

    @contextmanager
    def _feed(self) -> Iterator[Feed]:
        with self.store.feed() as feed:
            self._watching.add(feed)
            try:
                yield feed
            finally:
                self._watching.discard(feed)

    def _version(self, call: Call, name: str) -> str | None:
        if not call.changes or not name:
            return None
        found = self.store.find(call.target.resource, call.target.namespace, name)
        return None if found is None else str(found["metadata"]["resourceVersion"])

    def _record(self, call: Call, reply: Reply, before: str | None) -> None:
        target = call.target
        name = target.name or (reply.body.get("metadata") or {}).get("name", "")
        self.writes.append(
            Write(
                self.store.clock.now(),
                call.identity.name,
                call.user_agent,
                call.verb,
                target.resource.plural,
                target.resource.group,
                target.namespace,
                name,
                target.subresource,
                _recorded_body(call),
                call.dry_run,
                reply.status,
                before,
                self._version(call, name),
            )
        )


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise status.too_large(_LARGEST_BODY) from None


def _recorded_body(call: Call) -> Any:
    try:
        body = call.body()
    except ApiError:
        return None
    return without_secrets(body) if call.target.resource is SECRETS else body


def _require(call: Call, wish: Wish) -> None:
    """Raises ApiError (403)."""
    if not call.identity.may(wish):
        raise refusal(call.identity, call.target.resource, wish)


def _raise_faults(met: list[Fault]) -> None:
    for fault in met:
        if fault.kind == "unauthorized":
            raise status.unauthorized()
        if fault.kind == "status":
            raise status.as_fault(fault.status, fault.retry_after)


def _dropped(request: web.Request) -> web.Response:
    """Cuts the connection; the response goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _response(reply: Reply) -> web.Response:
    retry_after = (reply.body.get("details") or {}).get("retryAfterSeconds")
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = json.dumps(reply.body, separators=(",", ":")).encode()
    return web.Response(status=reply.status, body=body, content_type="application/json", headers=headers)
