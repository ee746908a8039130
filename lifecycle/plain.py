"""Values to plain JSON data and back, and the canonical text that hashes are made of."""

import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any

T = typing.TypeVar("T")

MAX_SAFE_INTEGER = 2**53 - 1
"""Larger integers are not the same number in every JSON reader (RFC 8785, section 3.2.2.3)."""


def to_plain(value: Any) -> Any:
    """Dataclasses become objects, mappings with keys that are values lists of pairs, times RFC 3339 text.

    A timedelta becomes whole seconds; raises ValueError for a fraction of one.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, timedelta):
        return _whole_seconds(value)
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {str(key): to_plain(item) for key, item in value.items()}
        return sorted(([to_plain(key), to_plain(item)] for key, item in value.items()), key=canonical)
    if isinstance(value, (frozenset, set)):
        return sorted((to_plain(item) for item in value), key=canonical)
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def _whole_seconds(length: timedelta) -> int:
    seconds, rest = divmod(length, timedelta(seconds=1))
    if rest:
        raise ValueError(f"{length!r} is no whole number of seconds")
    return seconds


def from_plain(kind: type[T], data: Any) -> T:
    """The value of type ``kind`` that ``to_plain`` wrote as ``data``; raises ValueError or KeyError on other data."""
    return typing.cast("T", _read(kind, data))


def _read(kind: Any, data: Any) -> Any:
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_optional(arguments, data)
    if origin in (tuple, frozenset):
        return origin(_read(arguments[0], item) for item in data)
    if origin is not None and issubclass(origin, Mapping):
        pairs = data.items() if isinstance(data, dict) else data
        return {_read(arguments[0], key): _read(arguments[1], item) for key, item in pairs}
    if kind is datetime:
        return datetime.fromisoformat(data)
    if kind is timedelta:
        return timedelta(seconds=data)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(data)
    if is_dataclass(kind):
        hints = _hints(typing.cast("type", kind))
        return kind(**{name: _read(hint, data[name]) for name, hint in hints.items() if name in data})  # type: ignore[operator]
    return data


def _read_optional(arguments: tuple[Any, ...], data: Any) -> Any:
    (choice,) = (choice for choice in arguments if choice is not type(None))  # no other unions are stored
    return None if data is None else _read(choice, data)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def canonical(data: Any) -> str:
    """The one JSON text of ``data`` (RFC 8785 without floating point, which we never store).

    Raises ValueError for a float, an integer that JSON readers disagree about, or a key that is no text.
    """
    return json.dumps(_ordered(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _ordered(data: Any) -> Any:
    if isinstance(data, dict):
        if not all(isinstance(key, str) for key in data):
            raise ValueError("canonical JSON has text keys only")
        # RFC 8785, section 3.2.3: keys are sorted by their UTF-16 code units
        return {key: _ordered(data[key]) for key in sorted(data, key=lambda key: key.encode("utf-16-be"))}
    if isinstance(data, (list, tuple)):
        return [_ordered(item) for item in data]
    if isinstance(data, float):
        raise ValueError(f"{data!r}: canonical JSON here has no floating point numbers")
    if isinstance(data, int) and not isinstance(data, bool) and abs(data) > MAX_SAFE_INTEGER:
        raise ValueError(f"{data!r} is outside the integers that every JSON reader keeps")
    return data


def digest(data: Any) -> str:
    """SHA-256, in hex, of the canonical text of ``data``."""
    return hashlib.sha256(canonical(data).encode()).hexdigest()


def rfc3339(moment: datetime) -> str:
    """UTC with microseconds and Z; raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} names no time zone")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
