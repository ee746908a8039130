"""Requests to one API server: fixed paths, plain JSON, a time limit on each, errors in our words."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
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
from lifecycle.kube import credentials
from lifecycle.kube.answers import Json, Request, from_status, parsed, refusal, translated

T = TypeVar("T")

ATTEMPTS = 4
"""How often a read is tried; a write is tried once, because the loop looks again before it decides again."""

LONGEST_WAIT = 10.0
"""Seconds a read waits before it is tried again; a server that asks for more gets its error told."""

ROLES_READ = 0.5
"""Seconds after which an API server that has opened its port knows its roles."""

_NO_PARAMS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Timeouts:
    """Seconds. ``read`` is the longest silence of an answer, ``write`` everything from connecting to the last byte."""

    connect: float = 3
    read: float = 10
    whole: float = 30
    """For a read altogether: a server that sends a byte now and then is as good as silent."""
    write: float = 4

    @property
    def for_reads(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=self.whole, sock_connect=self.connect, sock_read=self.read)

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

    async def get(self, path: str, params: Mapping[str, str] = _NO_PARAMS) -> Json:
        """An object or a list; tried again while it may still work."""
        return await self._patiently(lambda: self.get_once(path, params))

    async def get_once(self, path: str, params: Mapping[str, str] = _NO_PARAMS) -> Json:
        request = Request("GET", path, params)
        return parsed(request, await self._body(request, self._timeouts.for_reads))

    async def get_text(self, path: str, params: Mapping[str, str] = _NO_PARAMS) -> str:
        """A log: text in whatever encoding the container writes."""
        request = Request("GET", path, params)
        body = await self._patiently(lambda: self._body(request, self._timeouts.for_reads))
        return body.decode(errors="replace")

    async def ask(self, path: str, body: Json) -> Json:
        """A POST that changes nothing, such as an access review; tried again like a read."""
        request = Request("POST", path, body=body)
        return parsed(request, await self._patiently(lambda: self._body(request, self._timeouts.for_reads)))

    async def create(self, path: str, body: Json) -> Json:
        return await self._write(Request("POST", path, body=body))

    async def replace(self, path: str, body: Json) -> Json:
        """A PUT: the resourceVersion in ``body`` makes it a compare-and-swap."""
        return await self._write(Request("PUT", path, body=body))

    async def patch(self, path: str, operations: list[Json]) -> Json:
        """A JSON Patch: all of it or, raising Conflict where a `test` fails, nothing."""
        return await self._write(Request("PATCH", path, body=operations))

    async def follow(self, path: str, params: Mapping[str, str], *, silence: float) -> AsyncGenerator[Json, None]:
        """A watch's events until the server ends it; an ERROR event is raised, Expired for a 410.

        ``silence`` is the number of seconds without a byte after which the server counts as hung: Retryable.
        """
        request = Request("GET", path, params)
        with translated(request):
            response = await self._opened(request, self._timeouts.for_watches(silence))
            try:
                async with aclosing(_lines(response.content)) as lines:
                    async for line in lines:
                        yield _event(request, line)
            finally:
                response.close()

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

    async def _is_starting(self) -> bool:
        """Whether a 403 says nothing: a server that has not read the roles yet refuses everything.

        Measured on 1.36.3: for 30 ms after it opens its port; /readyz is refused too in that time, and 500 for one
        second more. A cluster that never allows /readyz is told apart by waiting longer than that.
        """
        for pause in (0.0, ROLES_READ):
            await asyncio.sleep(pause)
            answer = await self._sent(Request("GET", "/readyz"), self._timeouts.for_writes)
            answer.release()
            if answer.status != 403:
                return answer.status >= 500
        return False

    async def _sent(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        client = self._client or await self._entered()
        headers = {**client.default_headers, "Accept": "application/json", "Content-Type": request.content_type}
        try:  # in a pod this reads the service account's token again every minute
            await client.update_params_for_auth(headers, [], ["BearerToken"], request.path, request.method, None)
        except ConfigException:
            raise Retryable(f"{request}: the service account's token cannot be read") from None
        query = f"?{urlencode(request.params)}" if request.params else ""
        answer = await client.call_api(
            request.method,
            f"{client.configuration.host}{request.path}{query}",
            headers,
            request.body,
            _request_timeout=limits,
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _entered(self) -> Any:
        """The client, once for all requests that are the first."""
        async with self._loading:
            if self._client is None:
                self._client = _client(await self._load())
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
            self._client = _client(configuration)


def _client(configuration: Any) -> Any:
    """Reads the certificates; raises Invalid where they cannot be used."""
    try:
        client = ApiClient(configuration=configuration)
    except (OSError, ValueError) as error:
        raise Invalid(f"the certificates for {configuration.host} cannot be used ({type(error).__name__})") from None
    client.user_agent = f"tml-bot/{_version()}"
    return client


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
