"""The plan: the same decisions, run forward on a simulated cluster until nothing is left to do."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto

from lifecycle.decide import PHASES
from lifecycle.decide.preflight import warnings
from lifecycle.decide.start import kept
from lifecycle.model import Action, Component, Discovery, Observed, Ref, Step, Target, Verb, WorkloadState
from lifecycle.operation import Goal, Source
from lifecycle.phase import Phase
from lifecycle.plain import digest, to_plain
from lifecycle.topology import NEEDS

SERVING = NEEDS[Component.TM] | {Component.TM}
"""Without one of these no API call is answered."""


class OnTraffic(Enum):
    """What the waves of a plan mean for the API traffic."""

    STOPS = auto()
    COMES_BACK = auto()
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
        touched = {self.goal.topology[step.workload].component for wave in self.waves for step in wave}
        match self.verb:
            case Verb.STOP if Component.TM in touched:
                return OnTraffic.STOPS
            case Verb.START if touched & SERVING:
                return OnTraffic.COMES_BACK
            case Verb.RESTART if touched & SERVING:
                return OnTraffic.INTERRUPTED
            case _:
                return OnTraffic.UNTOUCHED

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
                }
            )
        )


def plan(goal: Goal, discovery: Discovery) -> Plan:
    """The plan for this goal on the cluster as it was discovered."""
    return Plan(
        verb=goal.verb,
        target=discovery.target,
        goal=goal,
        waves=tuple(wave for phase in PHASES[goal.verb] for wave in waves(phase, goal, discovery.observed)),
        uids=tuple(sorted([w.uid for w in goal.scope] + [claim.uid for claim in discovery.observed.claims])),
        warnings=(*warnings(discovery), *(kept(goal, discovery.observed) if goal.verb is Verb.START else ())),
    )


def waves(phase: Phase, goal: Goal, observed: Observed) -> list[tuple[Step, ...]]:
    """Decide, apply, settle, and again; ends because every applied step brings its workload closer to the end."""
    done: list[tuple[Step, ...]] = []
    picture = settled(observed)
    while steps := phase.decide(goal, picture):
        done.append(tuple(sorted(steps)))
        picture = settled(applied(goal, picture, steps))
    return done


def applied(goal: Goal, observed: Observed, steps: Iterable[Step]) -> Observed:
    """The picture after Kubernetes accepted these steps, before any controller saw them."""
    for step in steps:
        state = observed[goal.topology[step.workload]]
        observed = observed.with_state(step.workload, _accepted(state, step, goal))
    return observed


def _accepted(state: WorkloadState, step: Step, goal: Goal) -> WorkloadState:
    newer = replace(state, generation=state.generation + 1)
    match step.action:
        case Action.SCALE_TO_ZERO:
            return replace(newer, replicas=0, remembered=step.replicas)
        case Action.SCALE_UP:
            return replace(newer, replicas=step.replicas)
        case Action.ROLLOUT_RESTART:
            return replace(newer, restarted_by=goal.mark, updated=0)


def settled(observed: Observed) -> Observed:
    """The picture after every controller did its work and nothing went wrong."""
    return replace(observed, workloads={ref: _at_rest(state) for ref, state in observed.workloads.items()})


def _at_rest(state: WorkloadState) -> WorkloadState:
    return replace(
        state,
        observed_generation=state.generation,
        status_replicas=state.replicas,
        ready=state.replicas,
        updated=state.replicas,
        available=state.replicas,
        revision_settled=True,
        pods=(),
    )


def by_hand(goal: Goal, observed: Observed, phase: Phase) -> tuple[str, ...]:
    """The kubectl lines that would finish it without the bot, in order."""
    return tuple(line for wave in waves(phase, goal, observed) for step in wave for line in kubectl(step))


def kubectl(step: Step) -> tuple[str, ...]:
    """What a person would type for this step, without context and namespace; a stop keeps the note of the count."""
    match step.action:
        case Action.SCALE_TO_ZERO:
            return (
                f"kubectl annotate {step.workload} tml-bot/replicas={step.replicas} --overwrite",
                f"kubectl scale {step.workload} --replicas=0",
            )
        case Action.SCALE_UP:
            return (f"kubectl scale {step.workload} --replicas={step.replicas}",)
        case Action.ROLLOUT_RESTART:
            return (f"kubectl rollout restart {step.workload}",)
