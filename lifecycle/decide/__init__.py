"""Pure decisions, one file per verb, and which phases a verb consists of."""

from lifecycle.decide import delete, in_place, quiescing, rebind, reclaim, remove, restore, returning, snapshot, verify
from lifecycle.decide.restart import ROLLING
from lifecycle.decide.start import UP
from lifecycle.decide.stop import DOWN, DOWN_AND_BACK
from lifecycle.model import Verb
from lifecycle.operation import Goal
from lifecycle.phase import Phase

BACK = delete.UP_AGAIN
"""The way back of what took a cluster down that ran."""

NAMES = tuple(
    dict.fromkeys(
        phase.name
        for phase in (
            *(DOWN, UP, ROLLING, delete.CAPTURED, snapshot.CUT, snapshot.READY),
            quiescing.RESUMED,
            *(delete.KEPT, delete.REMOVED, delete.CLAIMS_REMOVED),
            *(rebind.REBOUND, restore.MADE, restore.BOUND, restore.GIVEN_BACK, in_place.CLONED),
            remove.HELD,
            *(verify.CLONED, verify.CHECKED, verify.CLEANED),
            *reclaim.PHASES,
        )
    )
)
"""Of every phase that a verb can have."""


def phases_of(goal: Goal) -> tuple[Phase, ...]:
    """What this goal takes, in order."""
    match goal.verb:
        case Verb.STOP:
            return (DOWN, *snapshot.phases_between(goal, can_turn_back=False))
        case Verb.START:
            return (UP,)
        case Verb.RESTART:
            return (ROLLING,)
        case Verb.SNAPSHOT:
            return snapshot.phases(goal)
        case Verb.DELETE:
            saving = snapshot.phases_between(goal, can_turn_back=True) or (delete.CAPTURED,)
            return (DOWN_AND_BACK, *saving, delete.KEPT, delete.REMOVED, delete.CLAIMS_REMOVED)
        case Verb.RESTORE:
            return restore.phases(goal)
        case Verb.RESTORE_IN_PLACE:
            return in_place.phases(goal)
        case Verb.REMOVE:
            return (remove.DOWN, remove.CAPTURED, remove.REMOVED, remove.HELD)
        case Verb.RETURN:
            return (returning.MADE, returning.UP)
        case Verb.VERIFY:
            return (verify.CLONED, verify.CHECKED, verify.CLEANED)
        case Verb.PURGE:
            return reclaim.phases(goal)


def way_back(goal: Goal, phase: Phase) -> Phase | None:
    """What the goal goes on with, its outcome already failed, where this phase of it fails; None: it ends there."""
    if not phase.can_turn_back:
        return None
    if goal.verb is Verb.VERIFY:
        return verify.CLEANED
    if quiescing.has_commands(goal):
        return quiescing.RESUMED
    return BACK if goal.ran else None


def phases_from(goal: Goal, name: str) -> tuple[Phase, ...]:
    """The phases that are left, beginning with the one of this name."""
    phases = next(((back,) for back in (BACK, quiescing.RESUMED) if back.name == name), phases_of(goal))
    names = [phase.name for phase in phases]
    return phases[names.index(name) :]
