"""Requests to one API server: fixed paths, plain JSON, a time limit on each, errors in our words."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException

from lifecycle.errors import Invalid, Retryable
from lifecycle.kube import credentials, sockets
from lifecycle.kube.answers import Accept, Json, Params, Request, Silent, from_status, parsed, refusal, translated

T = TypeVar("T")

ATTEMPTS = 4
"""How often a read is tried; a write is tried once, because the loop looks again before it decides again."""

LONGEST_WAIT = 10.0
"""Seconds a read waits before it is tried again; a server that asks for more gets its error told."""

ROLES_READ = (0.0, 0.5, 1.0, 2.0)
"""Seconds before each look at an API server that refuses /readyz; after all of them one that has opened its port knows
its roles."""

_NO_PARAMS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Timeouts:
    """Seconds. ``read`` is the longest silence of an answer, ``write`` everything from connecting to the last byte.

    A connection that died unnoticed looks like one that is quiet. Three limits tell them apart before ``read`` does,
    and none of them ends a read that is merely slow: ``first``, `idle` and ``dead``.
    """

    connect: float = 3
    read: float = 10
    first: float = 2
    """The silence after which a read is asked once more, on another connection and with all of ``read``."""
    whole: float = 30
    """For a read altogether: a server that sends a byte now and then is as good as silent."""
    write: float = 4
    dead: float = 9
    """Without a sign of life from the machine at the other end, see `sockets`; for watches, which may be quiet."""

    @property
    def idle(self) -> float:
        """How long an unused connection is kept: long enough for a burst of requests, and shorter than ``first``, so
        that no later try meets another connection that died with the first one's.
        """
        return min(self.first, self.read) / 2

    @property
    def for_first_tries(self) -> aiohttp.ClientTimeout:
        return self._for_reads(min(self.first, self.read))

    @property
    def for_reads(self) -> aiohttp.ClientTimeout:
        return self._for_reads(self.read)

    def _for_reads(self, silence: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=self.whole, sock_connect=self.connect, sock_read=silence)

    @property
    def for_writes(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=self.write, sock_connect=self.connect)

    def for_watches(self, silence: float) -> aiohttp.ClientTimeout:
        """Without ``sock_read`` a watch on a silent server hangs for ever (measured on kubernetes.aio 37)."""
        return aiohttp.ClientTimeout(total=None, sock_connect=self.connect, sock_read=silence)


def backoff(attempt: int, jitter: float, *, base: float = 0.2, longest: float = LONGEST_WAIT) -> float:
    """Seconds to wait after the ``attempt``-th failure in a row (from 0); ``jitter`` is in [0, 1)."""
    return float(min(longest, base * 2 ** min(attempt, 16))) * (0.5 + jitter / 2)


class Door:
    """The API server of one context. Raises Retryable, Conflict, Forbidden, Invalid and Gone, nothing else.

    ``load`` gives the client's Configuration: called with the first request, and again whenever the server says 401.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Any]],
        timeouts: Timeouts,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client: Any = None
        self._retired: list[Any] = []
        self._load = load
        self._loading = asyncio.Lock()
        self._generation = 0
        self._timeouts = timeouts
        self.jitter = jitter

    async def close(self) -> None:
        for client in [*self._retired, self._client]:
            if client is not None:
                await client.close()

    async def get(self, path: str, params: Mapping[str, str] = _NO_PARAMS, accept: Accept = Accept.WHOLE) -> Json:
        """An object or a list; tried again while it may still work."""
        return await self._patiently(lambda: self.get_once(path, params, accept))

    async def get_once(self, path: str, params: Mapping[str, str] = _NO_PARAMS, accept: Accept = Accept.WHOLE) -> Json:
        """Not tried again when it went wrong; `Timeouts.first` says when it is asked twice."""
        request = Request("GET", path, params, accept=accept)
        return parsed(request, await self._read(request))

    async def get_text(self, path: str, params: Mapping[str, str] = _NO_PARAMS) -> str:
        """A log: text in whatever encoding the container writes."""
        request = Request("GET", path, params)
        body = await self._patiently(lambda: self._read(request))
        return body.decode(errors="replace")

    async def ask(self, path: str, body: Json) -> Json:
        """A POST that changes nothing, such as an access review; tried again like a read."""
        request = Request("POST", path, body=body)
        return parsed(request, await self._patiently(lambda: self._read(request)))

    async def create(self, path: str, body: Json) -> Json:
        return await self._write(Request("POST", path, body=body))

    async def replace(self, path: str, body: Json) -> Json:
        """A PUT: the resourceVersion in ``body`` makes it a compare-and-swap.

        aiohttp sends it again on a connection that the server had closed; where the first one arrived after all, the
        second is a Conflict.
        """
        return await self._write(Request("PUT", path, body=body))

    async def patch(self, path: str, operations: list[Json]) -> Json:
        """A JSON Patch: all of it or, raising Conflict where a `test` fails, nothing."""
        return await self._write(Request("PATCH", path, body=operations))

    async def delete(self, path: str, uid: str, resource_version: str) -> Json:
        """Delete the object as it was read and, in the background, what it owns; answers it where it is still going.

        Raises Conflict for a namesake and for one that has changed since.
        """
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        return await self._write(Request("DELETE", path, body=options | {"preconditions": preconditions}))

    async def follow(
        self, path: str, params: Mapping[str, str], *, silence: float, accept: Accept = Accept.WHOLE
    ) -> AsyncGenerator[Json, None]:
        """A watch's events until the server ends it; an ERROR event is raised, Expired for a 410.

        ``silence`` is the number of seconds without a byte after which the server counts as hung: Retryable.
        """
        request = Request("GET", path, params, accept=accept)
        with translated(request):
            async with asyncio.timeout(self._timeouts.read):  # however quiet a watch is, its answer begins at once
                response = await self._opened(request, self._timeouts.for_watches(silence))
            try:
                async with aclosing(_lines(response.content)) as lines:
                    async for line in lines:
                        yield _event(request, line)
            finally:
                response.close()

    async def converse(self, path: str, params: Params, protocols: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """What comes over a WebSocket until the server closes it; asked for once, and without a limit to its length.

        Raises as every request does; of a refused handshake nobody hears more than its status.
        """
        request = Request("GET", path, params)
        with translated(request):
            async with asyncio.timeout(self._timeouts.read):
                socket = await self._upgraded(request, protocols)
            try:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.BINARY:
                        yield message.data
            finally:
                await socket.close()

    async def _write(self, request: Request) -> Json:
        return parsed(request, await self._body(request, self._timeouts.for_writes))

    async def _patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(ATTEMPTS - 1):
            try:
                return await read()
            except Retryable as error:
                wait = max(error.after or 0, backoff(attempt, self.jitter()))
                if wait > LONGEST_WAIT:
                    raise
                await asyncio.sleep(wait)
        return await read()

    async def _read(self, request: Request) -> bytes:
        """Asked again where a connection stays silent: a new one tells whether the server is, too."""
        try:
            return await self._body(request, self._timeouts.for_first_tries)
        except Silent:
            return await self._body(request, self._timeouts.for_reads)

    async def _body(self, request: Request, limits: aiohttp.ClientTimeout) -> bytes:
        with translated(request):
            response = await self._opened(request, limits)
            try:
                body: bytes = await response.read()
                return body
            finally:
                response.release()

    async def _opened(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """The answer with its body unread; raises for every status but 2xx."""
        generation = self._generation
        response = await self._sent(request, limits)
        if response.status == 401:
            response.release()
            await self._reload_credentials(generation)
            response = await self._sent(request, limits)
        if 200 <= response.status < 300:
            return response
        try:
            error = refusal(request, response.status, await response.read(), response.headers.get("Retry-After"))
        finally:
            response.release()
        if response.status == 403 and await self._is_starting():
            raise Retryable(f"{request}: refused by an API server that is still starting")
        raise error

    async def _upgraded(self, request: Request, protocols: Sequence[str]) -> aiohttp.ClientWebSocketResponse:
        generation = self._generation
        answer = await self._shaken_hands(request, protocols)
        if answer == 401:
            await self._reload_credentials(generation)
            answer = await self._shaken_hands(request, protocols)
        if not isinstance(answer, int):
            return answer
        if answer == 403 and await self._is_starting():
            raise Retryable(f"{request}: refused by an API server that is still starting")
        raise from_status(request, {"code": answer})

    async def _shaken_hands(self, request: Request, protocols: Sequence[str]) -> aiohttp.ClientWebSocketResponse | int:
        """The socket, or the status with which it was refused; aiohttp's own error has headers and query in it."""
        client = self._client or await self._entered()
        rest = client.rest_client
        if rest.pool_manager is None:
            rest.pool_manager = rest._create_pool_manager()  # as its own request does (RESTClientObject, 37.0.2)
        try:
            socket: aiohttp.ClientWebSocketResponse = await rest.pool_manager.ws_connect(
                _address(client, request),
                headers=await _headers(client, request),
                protocols=protocols,
                proxy=rest.proxy or None,
                proxy_headers=rest.proxy_headers,
                server_hostname=client.configuration.tls_server_name,
                timeout=aiohttp.ClientWSTimeout(ws_close=self._timeouts.connect),
            )
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        return socket

    async def _is_starting(self) -> bool:
        """Whether a 403 says nothing: a server that has not read the roles yet refuses everything.

        Measured on 1.36.3: for 30 ms after it opens its port, for 600 ms where the machine is busy; /readyz is refused
        too in that time, and 500 for half a second more and longer. A cluster that never allows /readyz is told apart
        by waiting longer than that.
        """
        for pause in ROLES_READ:
            await asyncio.sleep(pause)
            answer = await self._sent(Request("GET", "/readyz"), self._timeouts.for_writes)
            answer.release()
            if answer.status != 403:
                return answer.status >= 500
        return False

    async def _sent(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        client = self._client or await self._entered()
        answer = await client.call_api(
            request.method,
            _address(client, request),
            await _headers(client, request),
            request.body,
            _request_timeout=limits,
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _entered(self) -> Any:
        """The client, once for all requests that are the first."""
        async with self._loading:
            if self._client is None:
                self._client = self._made(await self._load())
            return self._client

    async def _reload_credentials(self, generation: int) -> None:
        """Read them again, once for all requests that were refused with the same ones (tokens expire)."""
        async with self._loading:
            if generation != self._generation:
                return
            self._adopt(await self._load())
            self._generation += 1

    def _adopt(self, configuration: Any) -> None:
        if credentials.same_connection(self._client.configuration, configuration):
            self._client.configuration.api_key = configuration.api_key
            self._client.configuration.refresh_api_key_hook = configuration.refresh_api_key_hook
        else:
            self._retired.append(self._client)  # a watch may still run on it
            self._client = self._made(configuration)

    def _made(self, configuration: Any) -> Any:
        """A client; raises Invalid where the certificates cannot be used."""
        try:
            client = ApiClient(configuration=configuration)
        except (OSError, ValueError) as error:
            why = type(error).__name__
            raise Invalid(f"the certificates for {configuration.host} cannot be used ({why})") from None
        sockets.attach(client, idle=self._timeouts.idle, dead=self._timeouts.dead)
        client.user_agent = f"tml-bot/{_version()}"
        return client


def _address(client: Any, request: Request) -> str:
    query = f"?{urlencode(request.params, doseq=True)}" if request.params else ""
    return f"{client.configuration.host}{request.path}{query}"


async def _headers(client: Any, request: Request) -> dict[str, str]:
    """With who asks; in a pod this reads the service account's token again every minute."""
    headers = {**client.default_headers, "Accept": request.accept, "Content-Type": request.content_type}
    try:
        await client.update_params_for_auth(headers, [], ["BearerToken"], request.path, request.method, None)
    except ConfigException:
        raise Retryable(f"{request}: the service account's token cannot be read") from None
    return headers


def _version() -> str:
    try:
        return version("tml-bot")
    except PackageNotFoundError:
        return "0"


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Lines of any length: StreamReader.readline gives up on long ones."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
    if rest:
        yield rest


def _event(request: Request, line: bytes) -> Json:
    event = parsed(request, line)
    if event.get("type") == "ERROR":
        raise from_status(request, event.get("object") or {})
    return event


@asynccontextmanager
async def connect(
    context: str | None, *, kubeconfig: str | None = None, timeouts: Timeouts | None = None
) -> AsyncIterator[Door]:
    """A door that is open as long as the block runs. ``context`` None: the cluster the bot itself runs in.

    Nothing is loaded yet: a context that cannot be is the error of each request, until it can.
    """

    async def load() -> Any:
        return await credentials.load(context, kubeconfig)

    door = Door(load, timeouts or Timeouts())
    try:
        yield door
    finally:
        await door.close()


class Connections:
    """One door per context, opened when first asked for and closed together."""

    def __init__(self, *, kubeconfig: str | None = None, timeouts: Timeouts | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._timeouts = timeouts
        self._doors: dict[str | None, Door] = {}
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def to(self, context: str | None) -> Door:
        """The context's door; it is the first request that finds out whether the context can be loaded."""
        async with self._opening:
            if context not in self._doors:
                opening = connect(context, kubeconfig=self._kubeconfig, timeouts=self._timeouts)
                self._doors[context] = await self._stack.enter_async_context(opening)
            return self._doors[context]
