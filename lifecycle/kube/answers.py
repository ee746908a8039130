"""What Kubernetes' refusals and the network's failures mean in our words."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import aiohttp

from lifecycle.errors import ClusterError, Conflict, Forbidden, Gone, Invalid, Retryable

Json = dict[str, Any]
Params = Mapping[str, str | Sequence[str]]
"""A query: what is asked for several times under one name is a list."""

LONGEST_MESSAGE = 300


class Accept(StrEnum):
    """In which form an answer is asked for, by its media type.

    Measured on 1.36.3: a list is never answered by METADATA and one object never by METADATA_LIST (406), and another
    media type after one of these would bring the whole object from a server that does not know them.
    """

    WHOLE = "application/json"
    METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    """Of one object, and of each in a watch, its metadata and nothing else."""
    METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    """Of a list the same; ``items`` is null where there are none."""


class Expired(Retryable):
    """410: the resourceVersion is too old to continue from; only a list helps."""


class Silent(Retryable):
    """The connection is open, and nothing came over it in time: it may be dead, or the server slow."""


@dataclass(frozen=True)
class Request:
    """What is asked of the API server; its text says what without query and body."""

    method: str
    path: str
    params: Params = field(default_factory=dict)
    body: Any = field(default=None, repr=False)
    accept: Accept = Accept.WHOLE

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_secret(self) -> bool:
        return "/secrets" in self.path or "/configmaps" in self.path

    @property
    def content_type(self) -> str:
        return "application/json-patch+json" if self.method == "PATCH" else "application/json"


def refusal(request: Request, status: int, body: bytes, retry_after: str | None) -> ClusterError:
    """The error for an answer that is not 2xx."""
    return from_status(request, {"code": status} | _parsed(body), _seconds(retry_after))


def from_status(request: Request, status: Json, after: float | None = None) -> ClusterError:
    """The error for Kubernetes' Status object, as an answer's body or within a watch."""
    code = int(status.get("code") or 500)
    text = f"{request}: {_explained(request, code, status)}"
    details = status.get("details") or {}
    match code:
        case 401:
            return Retryable(text)  # credentials expire and come back, see Door; a 403 does neither
        case 403:
            return Forbidden(text)
        case 404:
            return Gone(text)
        case 409:
            return Conflict(text)
        case 410:
            return Expired(text)
        case 422 if request.method == "PATCH" and not details.get("causes"):
            return Conflict(text)  # a JSON Patch whose `test` failed; a field that is wrong is named in the causes
        case 408 | 425 | 429:
            return Retryable(text, after or details.get("retryAfterSeconds"))
        case _ if code >= 500:
            return Retryable(text, after or details.get("retryAfterSeconds"))
        case _:
            return Invalid(text)


def _explained(request: Request, code: int, status: Json) -> str:
    """Kubernetes quotes the values it refuses, so nothing is quoted of what was said about a Secret or a ConfigMap."""
    reason = str(status.get("reason") or "")
    message = "" if request.is_secret else str(status.get("message") or "")[:LONGEST_MESSAGE]
    return " ".join(part for part in (str(code), reason, message) if part)


def _parsed(body: bytes) -> Json:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    is_status = isinstance(parsed, dict) and parsed.get("kind") == "Status"
    return {key: value for key, value in parsed.items() if value and key != "code"} if is_status else {}


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; a date, which the API server never sends, is left out."""
    try:
        return max(0.0, float(retry_after or ""))
    except ValueError:
        return None


@contextmanager
def translated(request: Request) -> Iterator[None]:
    """Turn the network's failures into Retryable, without their cause: aiohttp quotes headers and body in some."""
    try:
        yield
    except aiohttp.SocketTimeoutError:
        raise Silent(f"{request}: no answer in time") from None
    except TimeoutError:
        raise Retryable(f"{request}: no answer in time") from None
    except aiohttp.ClientConnectorError as error:
        raise Retryable(f"{request}: cannot connect to {error.host}:{error.port} ({type(error).__name__})") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Retryable(f"{request}: {type(error).__name__}") from None


def parsed(request: Request, body: bytes) -> Json:
    """The JSON object of a good answer; raises Retryable for anything else, as a proxy in between may send."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Retryable(f"{request}: the answer is not a JSON object")
    return found
