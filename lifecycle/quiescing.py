"""Commands around a hot cut: what is run before and after it, how far that is, and what a set says of it."""

import shlex
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from lifecycle.model import Component, Ref


@dataclass(frozen=True)
class HotCommands:
    """Each a program with its arguments, run in the component's first ready pod around a hot cut.

    ``container`` empty means the component's own. Each may take ``timeout``; between them there is never more than
    ``hold`` for the cut.
    """

    component: Component
    before: tuple[str, ...]
    after: tuple[str, ...]
    container: str = ""
    timeout: timedelta = timedelta(seconds=30)
    hold: timedelta = timedelta(minutes=1)

    def by_hand(self, where: str) -> str:
        """The line that runs ``after``; ``where`` as kubectl exec has it: a pod, with its container, or a workload."""
        return f"kubectl exec {where} -- {shlex.join(self.after)}"


class Stage(StrEnum):
    """How far the commands of an operation are. BEGUN is the only one that needs ``after`` still."""

    BEGUN = "begun"
    """Written down before ``before`` is run: whatever that does may hold from here on."""
    QUIESCED = "quiesced"
    """``before`` succeeded, then all was cut, then ``after`` succeeded."""
    NOT_QUIESCED = "not-quiesced"
    """``after`` succeeded, or nothing was run at all; something else did not."""
    STUCK = "stuck"
    """``after`` was tried and did not succeed: what ``before`` did may hold still."""


@dataclass(frozen=True)
class Quiescing:
    """What the component's workload bears of it: whose commands, how far, where they are run, why not."""

    operation: str
    stage: Stage
    pod: str = ""
    container: str = ""
    why: str = ""

    @property
    def is_over(self) -> bool:
        return self.stage is not Stage.BEGUN

    @property
    def where(self) -> str:
        return f"{self.pod} -c {self.container}" if self.container else self.pod

    @property
    def text(self) -> str:
        """As it is written on the object."""
        return " ".join([self.operation, self.stage, self.pod or "-", self.container or "-", self.why]).rstrip()


def parsed(text: str) -> Quiescing | None:
    """None for anything else that people may have written there."""
    words = text.split(" ", 4)
    if len(words) < 4 or words[1] not in list(Stage):
        return None
    operation, stage, *place = words[:4]
    pod, container = ("" if word == "-" else word for word in place)
    return Quiescing(operation, Stage(stage), pod, container, *words[4:])


@dataclass(frozen=True)
class Quiescence:
    """What a set says of the commands around its cut; ``by_hand`` is set where ``after`` was not seen to succeed."""

    is_quiesced: bool
    why: str = ""
    by_hand: str = ""


def quiescence(commands: HotCommands, seen: Quiescing | None, workload: Ref) -> Quiescence:
    """``seen`` is what the workload bears of the set's own operation; None: nothing, so nothing is claimed."""
    if seen is None:
        return Quiescence(is_quiesced=False, why="nothing is left that says how the commands ended")
    if seen.stage is Stage.QUIESCED:
        return Quiescence(is_quiesced=True)
    by_hand = "" if seen.stage is Stage.NOT_QUIESCED else commands.by_hand(seen.where or str(workload))
    return Quiescence(is_quiesced=False, why=seen.why, by_hand=by_hand)
