"""Pure decisions, one file per verb, and which phases a verb consists of."""

from lifecycle.decide.restart import ROLLING
from lifecycle.decide.start import UP
from lifecycle.decide.stop import DOWN
from lifecycle.model import Verb
from lifecycle.phase import Phase

PHASES: dict[Verb, tuple[Phase, ...]] = {
    Verb.STOP: (DOWN,),
    Verb.START: (UP,),
    Verb.RESTART: (ROLLING,),
}


def phases_from(verb: Verb, name: str) -> tuple[Phase, ...]:
    """The phases that are left, beginning with the present one."""
    phases = PHASES[verb]
    names = [phase.name for phase in phases]
    return phases[names.index(name) :]
