"""Plain requests to an API server: a status, a body, and nothing that hides what was answered."""

import asyncio
import json
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

Json = dict[str, Any]
Params = Mapping[str, str | int | bool]

CONTENT_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
NOT_READY = (aiohttp.ClientError, TimeoutError, OSError)


@dataclass(frozen=True)
class Access:
    """Where an API server is, and as whom it is asked."""

    url: str
    token: str = ""
    authority: str = ""
    """The PEM text of the certificate that the server's is signed by; empty for plain HTTP."""
    own: tuple[str, str] | None = None
    """A client certificate and its key, as PEM text, where a token is not what says who asks."""

    def as_user(self, token: str) -> "Access":
        return Access(self.url, token, self.authority)

    @property
    def tls(self) -> ssl.SSLContext | bool:
        if not self.authority:
            return True
        context = ssl.create_default_context(cadata=self.authority)
        if self.own:
            with tempfile.TemporaryDirectory() as folder:  # the standard library takes files only
                file = Path(folder) / "own.pem"
                file.write_text("\n".join(self.own))
                context.load_cert_chain(file)
        return context


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: Json = field(default_factory=dict)
    text: str = ""

    @property
    def version(self) -> str:
        return str(self.body["metadata"]["resourceVersion"])

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])


class Refusal(Exception):
    """An answer that is not 2xx, where one was needed."""

    def __init__(self, what: str, answer: Answer) -> None:
        super().__init__(f"{what}: {answer.status} {answer.text[:500]}")
        self.answer = answer


class Client:
    """One session; made by `open_client`."""

    def __init__(self, session: aiohttp.ClientSession, access: Access) -> None:
        self._session = session
        self._tls = access.tls
        self.access = access

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        patch: str = "",
        params: Params | None = None,
        accept: str = "application/json",
    ) -> Answer:
        """Whatever the answer is. ``patch`` is one of CONTENT_TYPES' keys."""
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = CONTENT_TYPES.get(patch, "application/json")
        async with self._session.request(
            method,
            self._address(path, params or {}),
            data=None if body is None else BytesIO(json.dumps(body).encode()),
            headers=headers,
            ssl=self._tls,
        ) as response:
            text = await response.text()
            return Answer(response.status, _parsed(text), text)

    async def get(self, path: str, **params: str | int | bool) -> Answer:
        return _good(f"GET {path}", await self.ask("GET", path, params=params))

    async def create(self, path: str, body: Json) -> Answer:
        return _good(f"POST {path}", await self.ask("POST", path, body))

    async def replace(self, path: str, body: Json) -> Answer:
        return _good(f"PUT {path}", await self.ask("PUT", path, body))

    async def patch(self, path: str, body: Any, patch: str = "merge") -> Answer:
        return _good(f"PATCH {path}", await self.ask("PATCH", path, body, patch=patch))

    async def delete(self, path: str, body: Json | None = None) -> Answer:
        return _good(f"DELETE {path}", await self.ask("DELETE", path, body))

    async def watch(self, path: str, **params: str | int | bool) -> AsyncGenerator[Json, None]:
        """The events until the server ends the watch. Raises Refusal."""
        address = self._address(path, {"watch": True, **params})
        async with self._session.get(address, ssl=self._tls, headers={"Accept": "application/json"}) as response:
            if response.status != 200:
                text = await response.text()
                raise Refusal(f"WATCH {path}", Answer(response.status, _parsed(text), text))
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    def _address(self, path: str, params: Params) -> str:
        words = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in params.items()}
        return f"{self.access.url}{path}" + (f"?{urlencode(words)}" if words else "")


def _parsed(text: str) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _good(what: str, answer: Answer) -> Answer:
    if not 200 <= answer.status < 300:
        raise Refusal(what, answer)
    return answer


@asynccontextmanager
async def open_client(access: Access) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
    limits = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=60)
    async with aiohttp.ClientSession(headers=headers, timeout=limits) as session:
        yield Client(session, access)


async def until(client: Client, path: str, wanted: Any, seconds: float = 120.0, pause: float = 0.05) -> Answer:
    """Ask again until ``wanted`` (of the answer) is true. Raises TimeoutError with the last answer."""
    answer = Answer(0)
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    answer = await client.ask("GET", path)
                    if wanted(answer):
                        return answer
                except NOT_READY as error:
                    answer = Answer(0, text=repr(error))
                await asyncio.sleep(pause)
    except TimeoutError:
        raise TimeoutError(f"{path} is not so within {seconds} s: {answer.status} {answer.text[:2000]}") from None
