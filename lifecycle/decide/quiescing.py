"""A hot cut with commands before and after it: one step does all of it, and nothing is through before ``after`` ran."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from lifecycle.errors import Unsafe
from lifecycle.model import Action, Component, Ref, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal
from lifecycle.phase import Phase
from lifecycle.quiescing import HotCommands, Quiescence, Quiescing, Stage, quiescence
from lifecycle.workloads import Workload

RESUMING = timedelta(minutes=2)
"""How long ``after`` is tried again in one step."""
ENDING = timedelta(minutes=3)
"""For a phase in which nothing but that is left."""


def refuse_absent(commands: HotCommands, topology: Sequence[Workload]) -> None:
    """Raises Unsafe where the cluster has no such component: nothing could be run, and nothing would tell how far."""
    if not any(one.component is commands.component for one in topology):
        raise Unsafe(
            f"`hot_commands` are to be run in {commands.component}, and this cluster has none: correct the "
            "configuration, or take a cold set"
        )


def around(cut: Phase, prepare: Callable[[Goal, Observed], list[Step]]) -> Phase:
    """The same phase with the goal's commands around it; ``prepare`` is what can be done before anything is held."""

    def decide(goal: Goal, observed: Observed) -> list[Step]:
        if is_over(goal, observed):
            return cut.decide(goal, observed)
        preparing = [] if seen_of(goal, observed) else prepare(goal, observed)
        return preparing or quiescing_steps(goal, observed)

    def arrived(goal: Goal, observed: Observed, ref: Ref) -> bool:
        return is_over(goal, observed) and cut.arrived(goal, observed, ref)

    def limit(goal: Goal) -> timedelta:
        commands = _commands(goal)
        return cut.limit(goal) + 2 * commands.timeout + commands.hold + RESUMING

    return replace(cut, decide=decide, arrived=arrived, limit=limit, can_turn_back=True)


def _commands(goal: Goal) -> HotCommands:
    assert goal.cutting
    assert goal.cutting.commands
    return goal.cutting.commands


def has_commands(goal: Goal) -> bool:
    return goal.cutting is not None and goal.cutting.commands is not None


def workload_of(goal: Goal) -> Workload:
    """The one that bears how far they are: the component's first."""
    component: Component = _commands(goal).component
    return next(one for one in goal.topology if one.component is component)


def seen_of(goal: Goal, observed: Observed) -> Quiescing | None:
    """How far the goal's own commands are; None: nothing says that any was run."""
    found = observed[workload_of(goal)].quiescing
    return found if found and found.operation == goal.mark else None


def is_over(goal: Goal, observed: Observed) -> bool:
    """Nothing of them is left to run."""
    seen = seen_of(goal, observed)
    return seen is not None and seen.is_over


def is_held(goal: Goal, observed: Observed) -> bool:
    """Whether ``before`` may have run, and ``after`` not: also where something was cut and nothing says so any more."""
    seen = seen_of(goal, observed)
    return not seen.is_over if seen else bool(observed.snapshots or observed.groups)


def quiescing_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Bring them to their end: all three in one step, or what an earlier executor left of it."""
    return [_step(Action.QUIESCE, goal, observed)] if observed[workload_of(goal)].exists else []


def resuming_steps(goal: Goal, observed: Observed) -> list[Step]:
    """``after`` and nothing else."""
    is_due = is_held(goal, observed) and observed[workload_of(goal)].exists
    return [_step(Action.RESUME, goal, observed)] if is_due else []


def _step(action: Action, goal: Goal, observed: Observed) -> Step:
    workload = workload_of(goal)
    return Step(action, workload.ref, uid=goal.uid_of(workload, observed))


def is_resumed(goal: Goal, observed: Observed, _ref: Ref) -> bool:
    seen = seen_of(goal, observed)
    return not is_held(goal, observed) and not (seen and seen.stage is Stage.STUCK)


def stuck(goal: Goal, observed: Observed) -> str | None:
    seen = seen_of(goal, observed)
    return seen.why if seen and seen.stage is Stage.STUCK else None


def of_its_workload(goal: Goal) -> tuple[Ref, ...]:
    return (workload_of(goal).ref,)


RESUMED = Phase("after", resuming_steps, is_resumed, lambda _goal: ENDING, of_its_workload, stuck)
"""The way back of a hot cut that failed: what ``before`` did must not stay."""


def told(goal: Goal, observed: Observed) -> Quiescence | None:
    """What the set says of its commands; None where it has none."""
    if not has_commands(goal):
        return None
    return quiescence(_commands(goal), seen_of(goal, observed), workload_of(goal).ref)


def by_hand(goal: Goal, observed: Observed | None) -> tuple[str, ...]:
    """The line that runs ``after``, where it was not seen to succeed; without a picture that is not known."""
    if not has_commands(goal):
        return ()
    seen = seen_of(goal, observed) if observed else None
    if observed and not is_held(goal, observed) and not stuck(goal, observed):
        return ()
    return (_commands(goal).by_hand((seen.where if seen else "") or str(workload_of(goal).ref)),)
