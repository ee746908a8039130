"""What is on the volumes of a cluster that is to be deleted, and what is lost with them, in words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.views.blocks import quoted
from bot.views.words import listed
from lifecycle.losses import GENERAL, Content, Fate, Holding, Loss, Way, losses
from lifecycle.observed import Stream
from lifecycle.operation import Goal

HEADS = {
    Way.NONE: (
        ":rotating_light: *LOST FOR GOOD with this delete: the volume is gone, nothing is kept or cut.* Only an older "
        "snapshot set, if there is one, has it"
    ),
    Way.KEPT: "*Lost if a kept volume itself is lost*, by its disk or a `kubectl delete pv`: no snapshot has it",
    Way.SNAPSHOT: "*Lost only if a kept volume and its snapshot are lost*",
}
"""By the way back, the worst first."""
SYNCHRONISES = "can be synchronised again if MOM answers and the key is valid"
"""Of a tethered cluster's API configuration; nobody can promise more."""
SAYS = {
    (Content.OAUTH, Fate.LOST): "OAuth tokens",
    (Content.PORTAL, Fate.LOST): "portal content",
    (Content.REGISTRY, Fate.FORMS_AGAIN): "(the registry forms again)",
    (Content.CONFIGURATION, Fate.LOST): "the API configuration: untethered, nothing else has it",
    (Content.CONFIGURATION, Fate.SYNCHRONISES): f"the API configuration: {SYNCHRONISES}",
    (Content.CONFIGURATION, Fate.NOT_KNOWN): (
        "the API configuration: whether the cluster is tethered is unknown, which counts as lost"
    ),
    (Content.LOGS, Fate.LOST): "logs not forwarded (DEFAULT): {}",
    (Content.LOGS, Fate.NOT_KNOWN): "logs unknown whether forwarded, counted as lost: {}",
    (Content.LOGS, Fate.IS_ELSEWHERE): "forwarded, so elsewhere too: {}",
    (Content.CACHE, Fate.FORMS_AGAIN): "nothing that matters",
    (Content.REPORTS, Fate.LOST): "dashboards, metrics and logs of reporting",
    (Content.UNKNOWN, Fate.NOT_KNOWN): "what is on it is unknown, which counts as lost",
}
NAMED = 3
"""Volumes of one kind that are named; of more the plan has the names. What is lost for good is always named."""


@dataclass(frozen=True)
class Told:
    """What is lost where volumes come back one way: a heading, and a line for all that hold the same.

    ``is_grave``: it is missed, and no snapshot has it.
    """

    way: Way
    lines: tuple[str, ...]
    is_grave: bool

    @property
    def head(self) -> str:
        return HEADS[self.way]


def told(goal: Goal, ways: Mapping[str, Way]) -> tuple[Told, ...]:
    """By how the volumes come back, the worst first."""
    found = losses(goal, ways)
    groups = {way: [loss for loss in found if loss.way is way] for way in HEADS}
    return tuple(_told(way, concerned) for way, concerned in groups.items() if concerned)


def _told(way: Way, concerned: Iterable[Loss]) -> Told:
    is_missed = any(holding.fate.is_loss for loss in concerned for holding in loss.holdings)
    return Told(way, tuple(map(_line, concerned)), is_grave=is_missed and way is not Way.SNAPSHOT)


def lines_of(groups: Iterable[Told]) -> list[str]:
    return [line for one in groups for line in (one.head, *one.lines)]


def lost_lines(goal: Goal, ways: Mapping[str, Way]) -> list[str]:
    return lines_of(told(goal, ways))


def _line(loss: Loss) -> str:
    said = "; ".join(_says(holding) for holding in loss.holdings)
    return f"• {_names(loss)}: {f'*{said}*' if loss.is_for_good else said}"


def _names(loss: Loss) -> str:
    names = [quoted(name) for name in loss.claims]
    if loss.way is Way.NONE or len(names) <= NAMED:
        return listed(names)
    return f"{names[0]} and {len(names) - 1} more of {loss.component or 'unknown components'}"


def _says(holding: Holding) -> str:
    streams = listed([_stream(stream) for stream in holding.streams])
    return SAYS[holding.content, holding.fate].format(streams)


def _stream(stream: Stream) -> str:
    return "all that have no setting of their own" if stream.name == GENERAL else quoted(stream.name)
