"""Commands around a hot cut, as the cluster port runs them: one effect after another, any of which may be the last."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lifecycle.decide.snapshot import cutting_of
from lifecycle.errors import Conflict
from lifecycle.model import Action, Step
from lifecycle.operation import Goal
from lifecycle.quiescing import Quiescing, Stage
from tests.fakes.world import World

POD, CONTAINER = "mysql-set-0-0", "tml-sql"
MOVES = 4
"""Of the controllers, while the cut is held."""


@dataclass
class Pods:
    """Where the commands run. ``holds`` is True from the one before until the one after."""

    world: World
    failing: set[str] = field(default_factory=set)
    """before, after: what ends with exit code 1 (and does what it does all the same)."""
    ran: list[str] = field(default_factory=list)
    holds: bool = False
    held_cuts: dict[str, bool] = field(default_factory=dict)
    """By the uid of a snapshot: whether the pods were held when it was cut."""

    def do(self, step: Step, goal: Goal, epoch: int) -> Iterator[None]:
        """One step; yields after every effect."""
        state = self.world.states[step.ref]
        if state.epoch != epoch:
            raise Conflict("another epoch is stamped")
        known = state.quiescing if state.quiescing and state.quiescing.operation == goal.mark else None
        why = "interrupted"
        if step.action is Action.QUIESCE and known is None and not self._cut_already(goal):
            self._note(step, goal, Stage.BEGUN)
            yield
            why = ""
            for failed in self._run("before"):
                why = failed
                yield
            if not why:
                for _ in range(MOVES):
                    for cut in cutting_of(goal).decide(goal, self.world.picture(goal)):
                        self.world.apply(cut, goal, epoch)
                        yield
                    self.move()
                is_cut = cutting_of(goal).reached(goal, self.world.picture(goal))
                why = "" if is_cut else "not all was cut within 60 s"
        elif known and known.is_over:
            return
        for failed in self._run("after"):
            yield
            if failed:
                self._note(step, goal, Stage.STUCK, "the command after ended with exit code 1")
                yield
                return
        self._note(step, goal, Stage.NOT_QUIESCED if why else Stage.QUIESCED, why)
        yield

    def _cut_already(self, goal: Goal) -> bool:
        seen = self.world.picture(goal)
        return bool(seen.snapshots or seen.groups)

    def _run(self, command: str) -> Iterator[str]:
        self.ran.append(command)
        fails = command in self.failing
        self.holds = command == "before" or (self.holds and fails)
        yield f"the command {command} ended with exit code 1" if fails else ""

    def _note(self, step: Step, goal: Goal, stage: Stage, why: str = "") -> None:
        state = self.world.states[step.ref]
        noted = Quiescing(goal.mark, stage, POD, CONTAINER, why)
        self.world.states[step.ref] = replace(state, quiescing=noted)

    def move(self) -> None:
        """The storage cuts."""
        before = {one.uid for one in self.world.snapshots.values() if one.cut_at}
        self.world.move()
        for one in self.world.snapshots.values():
            if one.cut_at and one.uid not in before:
                self.held_cuts[one.uid] = self.holds
