"""The plan: the same decisions, run forward on a simulated cluster until nothing is left to do."""

from dataclasses import dataclass, replace
from enum import Enum, auto

from lifecycle.decide.preflight import warnings
from lifecycle.decide.start import kept
from lifecycle.model import Action, Component, Ref, Step, Target, Verb
from lifecycle.observed import Discovery, Observed
from lifecycle.operation import Goal, Source
from lifecycle.plain import digest, to_plain
from lifecycle.simulation import all_waves
from lifecycle.topology import NEEDS

SERVING = NEEDS[Component.TM] | {Component.TM}
"""Without one of these no API call is answered."""


SCALING = frozenset({Action.SCALE_TO_ZERO, Action.SCALE_UP, Action.ROLLOUT_RESTART})
"""What changes whether pods run."""


class OnTraffic(Enum):
    """What the waves of a plan mean for the API traffic."""

    STOPS = auto()
    COMES_BACK = auto()
    PAUSES = auto()
    """Until all is cut and up again."""
    INTERRUPTED = auto()
    """While single pods are replaced."""
    UNTOUCHED = auto()


@dataclass(frozen=True)
class Plan:
    """What an operation would do, wave by wave; the steps of a wave go at the same time.

    ``uids`` are those of the workloads and claims concerned; ``doubtful`` the workloads whose count is only
    declared by cm and which a person has to confirm.
    """

    verb: Verb
    target: Target
    goal: Goal
    waves: tuple[tuple[Step, ...], ...]
    uids: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def doubtful(self) -> tuple[Ref, ...]:
        return tuple(ref for ref, source in self.goal.sources.items() if source is Source.DECLARED)

    @property
    def step_keys(self) -> frozenset[str]:
        """What it would write, by Step.key: two plans with the same keys have the same amount of work."""
        return frozenset(step.key for wave in self.waves for step in wave)

    @property
    def on_traffic(self) -> OnTraffic:
        """By the waves, not by the goal: what is where it should be already is in no wave."""
        touched = {
            self.goal.topology[step.ref].component for wave in self.waves for step in wave if step.action in SCALING
        }
        match self.verb:
            case Verb.STOP | Verb.REMOVE | Verb.DELETE if Component.TM in touched:
                return OnTraffic.STOPS
            case Verb.START | Verb.RETURN | Verb.RESTORE if touched & SERVING:
                return OnTraffic.COMES_BACK
            case Verb.RESTART if touched & SERVING:
                return OnTraffic.INTERRUPTED
            case Verb.SNAPSHOT | Verb.RESTORE_IN_PLACE if Component.TM in touched:
                return OnTraffic.PAUSES
            case _:
                return OnTraffic.UNTOUCHED

    def _cutting(self) -> object:
        """Which volumes are cut how, and which are not; why not is wording."""
        cutting = self.goal.cutting
        if cutting is None:
            return None
        how = [one for one in (cutting.commands, cutting.group_class) if one]
        return [cutting.temperature, cutting.members, [one.claim for one in cutting.unsaved], *how]

    def _purging(self) -> object:
        """What goes for good; why the rest stays is wording, and which set is the newest no part of it."""
        purging = self.goal.purging
        return None if purging is None else replace(purging, stays={}, guard=(), guard_group=None)

    @property
    def digest(self) -> str:
        """SHA-256 of what the plan means: never of pods, ids, generated names, wording or times."""
        return digest(
            to_plain(
                {
                    "verb": self.verb,
                    "target": self.target,
                    "counts": {str(ref): count for ref, count in self.goal.counts.items()},
                    "waves": self.waves,
                    "uids": self.uids,
                    "staying": [str(part.ref) for part in self.goal.staying],
                    "captured": self.goal.captured,
                    "cutting": self._cutting(),
                    "clones": [self.goal.chosen, self.goal.clones],
                    "streams": self.goal.streams,
                    **({"verifying": self.goal.verifying} if self.goal.verifying else {}),
                    **({"unrecoverable": self.goal.unrecoverable} if self.goal.unrecoverable else {}),
                    "keeps": self.goal.keeps,
                    "purging": self._purging(),
                    **({"copies": self.goal.copies} if self.goal.copies else {}),
                }
            )
        )


def plan(goal: Goal, discovery: Discovery) -> Plan:
    """The plan for this goal on the cluster as it was discovered."""
    observed = with_inventory(goal, discovery.observed)
    return Plan(
        verb=goal.verb,
        target=discovery.target,
        goal=goal,
        waves=all_waves(goal, observed),
        uids=uids(goal, observed),
        warnings=(*warnings(discovery), *(kept(goal, observed) if goal.verb is Verb.START else ())),
    )


def plan_of_return(goal: Goal, target: Target, observed: Observed, warnings: tuple[str, ...] = ()) -> Plan:
    """The plan for what brings back: there may be nothing left to discover."""
    return Plan(goal.verb, target, goal, all_waves(goal, observed), uids(goal, observed), warnings)


def with_inventory(goal: Goal, observed: Observed) -> Observed:
    """The picture with what the goal froze of volumes and parts: a discovery does not look at them."""
    return replace(observed, volumes=goal.volumes, parts=goal.parts) if goal.is_wide else observed


def uids(goal: Goal, observed: Observed) -> tuple[str, ...]:
    """Of all objects concerned, those that stay by name included."""
    concerned = (*goal.scope, *observed.claims, *goal.volumes, *goal.parts, *goal.staying)
    return tuple(sorted(one.uid for one in concerned))
