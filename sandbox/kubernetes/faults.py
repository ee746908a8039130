"""Faults on the wire, asked for by tests and people: which requests they meet, and what happens to those."""

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

FaultKind = Literal["status", "delay", "drop_before", "drop_after", "silent", "drop_watch", "expired", "unauthorized"]
WATCH_ONLY = ("silent", "drop_watch", "expired")


@dataclass
class Fault:
    """One rule; `*` matches any.

    status: answered with `status` and, where `retry_after` is given, that header; nothing takes effect.
    delay: answered after `seconds` of real time; who gives up before that has changed nothing.
    drop_before, drop_after: the connection is cut before or after the effect.
    silent: a watch that is accepted, sends nothing and never ends. drop_watch: cut after `after_events` events.
    expired: the watch's resourceVersion is too old (410). unauthorized: 401, as with an expired token.
    """

    kind: FaultKind
    verb: str = "*"
    method: str = "*"
    resource: str = "*"
    """The plural, with the subresource where there is one (`statefulsets/scale`)."""
    namespace: str = "*"
    name: str = "*"
    times: int | None = None
    """How many requests it meets; None: as long as it is there."""
    probability: float = 1.0
    status: int = 503
    retry_after: int | None = None
    seconds: float = 0.0
    after_events: int = 0
    met: int = field(default=0, kw_only=True)
    """How many requests it has met so far."""

    def matches(self, wish: Mapping[str, str]) -> bool:
        return all(getattr(self, key) in ("*", value) for key, value in wish.items())

    @property
    def is_spent(self) -> bool:
        return self.times is not None and self.met >= self.times


class Faults:
    """The rules in force. Several may meet one request; chance is seeded, so that a run can be repeated."""

    def __init__(self, seed: int = 0) -> None:
        self.rules: list[Fault] = []
        self._random = random.Random(seed)

    def add(self, fault: Fault) -> Fault:
        if fault.kind in WATCH_ONLY:
            fault.verb = "watch"
        self.rules.append(fault)
        return fault

    def clear(self) -> None:
        self.rules.clear()

    def remove(self, fault: Fault) -> None:
        self.rules.remove(fault)

    def reseed(self, seed: int) -> None:
        self._random.seed(seed)

    def meeting(self, **wish: str) -> list[Fault]:
        """The faults that this request meets, each counted. `wish`: verb, method, resource, namespace, name."""
        met = [rule for rule in self.rules if rule.matches(wish) and not rule.is_spent and self._happens(rule)]
        for rule in met:
            rule.met += 1
        return met

    def _happens(self, rule: Fault) -> bool:
        return rule.probability >= 1 or self._random.random() < rule.probability

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(rule) for rule in self.rules]


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "kind": lambda value: value in get_args(FaultKind),
    "times": lambda value: value is None or isinstance(value, int),
    "retry_after": lambda value: value is None or isinstance(value, int),
    "probability": lambda value: isinstance(value, int | float),
    "seconds": lambda value: isinstance(value, int | float),
    "status": lambda value: isinstance(value, int),
    "after_events": lambda value: isinstance(value, int),
}


def fault_from(values: Any) -> Fault:
    """A rule from its JSON form, whose keys are the fields. Raises ValueError that names what is wrong."""
    known = {item.name for item in fields(Fault)} - {"met"}
    if not isinstance(values, dict) or "kind" not in values:
        raise ValueError("a fault is an object with at least a kind")
    unknown = set(values) - known
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    for key, value in values.items():
        if not _CHECKS.get(key, lambda given: isinstance(given, str))(value):
            raise ValueError(f"{key}: {value!r} is not valid")
    return Fault(**values)
