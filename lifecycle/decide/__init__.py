"""Pure decisions, one file per verb, and which phases a verb consists of."""

from lifecycle.decide import delete, restore
from lifecycle.decide.restart import ROLLING
from lifecycle.decide.start import UP
from lifecycle.decide.stop import DOWN
from lifecycle.model import Verb
from lifecycle.phase import Phase

PHASES: dict[Verb, tuple[Phase, ...]] = {
    Verb.STOP: (DOWN,),
    Verb.START: (UP,),
    Verb.RESTART: (ROLLING,),
    Verb.DELETE: (delete.DOWN, delete.CAPTURED, delete.KEPT, delete.REMOVED, delete.CLAIMS_REMOVED),
    Verb.RESTORE: (restore.MADE, restore.BOUND, restore.UP, restore.GIVEN_BACK),
}
BACK = delete.UP_AGAIN
"""In place of what is left, where an operation that can turn back fails and the cluster ran."""


def phases_from(verb: Verb, name: str) -> tuple[Phase, ...]:
    """The phases that are left, beginning with the present one."""
    phases = PHASES[verb] if name != BACK.name else (BACK,)
    names = [phase.name for phase in phases]
    return phases[names.index(name) :]
