"""What is on a cluster's volumes, and what becomes of it when a volume is gone (domain, section 5); pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lifecycle.model import Component
from lifecycle.observed import Forwarding, Stream
from lifecycle.operation import Goal
from lifecycle.volumes import Claim


class Mode(StrEnum):
    """Where a cluster has its API configuration from: TMG_CLUSTER_MODE."""

    TETHERED = "tethered"
    UNTETHERED = "untethered"
    UNKNOWN = "unknown"


class Way(StrEnum):
    """How what is on a volume can be had again after a delete."""

    KEPT = "kept"
    """The volume stays, and nothing else has its bytes."""
    SNAPSHOT = "snapshot"
    """A snapshot has them, whatever becomes of the volume."""
    NONE = "none"
    """They are lost for good."""


class Content(StrEnum):
    """What a volume holds."""

    OAUTH = "oauth"
    PORTAL = "portal"
    REGISTRY = "registry"
    CONFIGURATION = "configuration"
    LOGS = "logs"
    CACHE = "cache"
    REPORTS = "reports"
    UNKNOWN = "unknown"


class Fate(StrEnum):
    """What becomes of it without the volume."""

    LOST = "lost"
    NOT_KNOWN = "not known"
    """Which counts as lost."""
    SYNCHRONISES = "synchronises"
    """From the MOM account, if that answers and the key is valid: nobody can promise that it does."""
    IS_ELSEWHERE = "is elsewhere"
    FORMS_AGAIN = "forms again"

    @property
    def is_loss(self) -> bool:
        return self in (Fate.LOST, Fate.NOT_KNOWN)


@dataclass(frozen=True)
class Holding:
    """One thing on a volume; ``streams`` are the logs that are meant."""

    content: Content
    fate: Fate
    streams: tuple[Stream, ...] = ()


@dataclass(frozen=True)
class Loss:
    """Volumes, by the names of their claims, that hold the same and have the same way back."""

    component: Component | None
    claims: tuple[str, ...]
    way: Way
    holdings: tuple[Holding, ...]

    @property
    def is_for_good(self) -> bool:
        """Whether something that matters goes with the delete itself, and nothing brings it back."""
        return self.way is Way.NONE and any(holding.fate.is_loss for holding in self.holdings)


GENERAL = ""
"""The name of the stream that stands for all that have no setting of their own."""
NOT_READ = (Stream(GENERAL, Forwarding.UNKNOWN),)
"""The logs of a cluster whose forwarding nobody could read."""

ALWAYS: Mapping[Component, tuple[Holding, ...]] = {
    Component.NOSQL: (
        Holding(Content.OAUTH, Fate.LOST),
        Holding(Content.PORTAL, Fate.LOST),
        Holding(Content.REGISTRY, Fate.FORMS_AGAIN),
    ),
    Component.CACHE: (Holding(Content.CACHE, Fate.FORMS_AGAIN),),
    Component.REPORTING: (Holding(Content.REPORTS, Fate.LOST),),
}
"""What depends on nothing."""

OF_MODE = {
    Mode.TETHERED: Fate.SYNCHRONISES,
    Mode.UNTETHERED: Fate.LOST,
    Mode.UNKNOWN: Fate.NOT_KNOWN,
}
"""Of the API configuration."""

NOBODY_KNOWS = (Holding(Content.UNKNOWN, Fate.NOT_KNOWN),)


def mode_of(goal: Goal) -> Mode:
    return next((mode for mode in Mode if mode == goal.mode), Mode.UNKNOWN)


def losses(goal: Goal, ways: Mapping[str, Way]) -> tuple[Loss, ...]:
    """For each claim that has a volume, in the order of the components; ``ways`` are by claim, none where it is not."""
    groups: dict[tuple[Component | None, Way], list[str]] = {}
    for component, claim in sorted(_owned(goal), key=_rank):
        groups.setdefault((component, ways.get(claim.name, Way.NONE)), []).append(claim.name)
    return tuple(
        Loss(component, tuple(claims), way, holdings(component, mode_of(goal), goal.streams))
        for (component, way), claims in groups.items()
    )


def ways_back(goal: Goal) -> dict[str, Way]:
    """Of a delete, by claim: it keeps every volume, and cuts what it can."""
    cut = goal.cutting.members if goal.cutting else ()
    return {volume.claim: Way.KEPT for volume in goal.volumes} | {member.claim: Way.SNAPSHOT for member in cut}


def holdings(component: Component | None, mode: Mode, streams: tuple[Stream, ...]) -> tuple[Holding, ...]:
    """What a volume of this component holds; None: of a component that is not known."""
    match component:
        case Component.SQL:
            return (Holding(Content.CONFIGURATION, OF_MODE[mode]),)
        case Component.LOG:
            return tuple(_logs(streams or NOT_READ))
        case None:
            return NOBODY_KNOWS
        case _:
            return ALWAYS.get(component, NOBODY_KNOWS)


def _logs(streams: tuple[Stream, ...]) -> Iterator[Holding]:
    """A stream of which nothing is known counts as lost."""
    fates = {
        Forwarding.NOT_FORWARDED: Fate.LOST,
        Forwarding.UNKNOWN: Fate.NOT_KNOWN,
        Forwarding.FORWARDED: Fate.IS_ELSEWHERE,
    }
    for forwarding, fate in fates.items():
        if concerned := tuple(stream for stream in streams if stream.forwarding is forwarding):
            yield Holding(Content.LOGS, fate, concerned)


def _owned(goal: Goal) -> Iterator[tuple[Component | None, Claim]]:
    for claim in goal.claims:
        if claim.volume:
            owners = (workload.component for workload in goal.topology if workload.owns_claim(claim.name))
            yield next(owners, None), claim


def _rank(owned: tuple[Component | None, Claim]) -> tuple[int, str]:
    component, claim = owned
    return (len(Component) if component is None else list(Component).index(component)), claim.name
