"""Volume groups: what the API server does to them on a step, and the moves of their controllers."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lifecycle.errors import Conflict, Gone
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.operation import Goal
from lifecycle.snapshots import group_name
from lifecycle.volumes import Content, GroupContent, GroupSnapshot, Snapshot, Volume
from tests.fakes import values

if TYPE_CHECKING:
    from tests.fakes.world import World


@dataclass
class GroupWorld:
    """Of one namespace. Who is in a group is decided when it is cut, by the claims' labels."""

    world: "World"
    groups: dict[str, GroupSnapshot] = field(default_factory=dict)
    behind: dict[str, GroupContent] = field(default_factory=dict)

    def named_by(self, goal: Goal) -> tuple[GroupSnapshot, ...]:
        """Those that a picture for this goal shows."""
        names = {group_name(goal.mark)} if goal.is_grouped else set()
        if goal.purging:
            names |= {one.snapshot for one in goal.purging.doomed if one.kind is Kind.GROUP}
            names |= {goal.purging.guard_group.name} if goal.purging.guard_group else set()
        return tuple(one for name, one in self.groups.items() if name in names)

    def as_seen(self, one: Snapshot) -> Snapshot:
        """A member has its mark from its group."""
        return replace(one, group="", made_by="") if one.group and one.group not in self.groups else one

    def uid_of(self, ref: Ref) -> str:
        found = (self.groups if ref.kind is Kind.GROUP else self.behind).get(ref.name)
        return found.uid if found else ""

    def apply(self, step: Step, goal: Goal, epoch: int) -> str:
        match step.action:
            case Action.LABEL:
                claim = self.world.claims[step.ref.name]
                if (claim.uid, claim.epoch) != (step.uid, epoch):
                    raise Conflict(f"{step.ref}: another uid, or another epoch")
                self.world.claims[claim.name] = replace(claim, grouped_by=goal.mark)
                return claim.uid
            case Action.CUT:
                return self._made(step.ref.name, goal)
        if self.uid_of(step.ref) != step.uid:
            raise Gone(f"{step.ref} is gone")
        match step.action:
            case Action.RETAIN:
                group = self.groups[step.ref.name]
                self._set_policy(group.content, Volume.RETAIN)
            case Action.RELEASE:
                self._set_policy(step.ref.name, "Delete")
            case Action.REMOVE if step.ref.kind is Kind.GROUP:
                self._remove(self.groups[step.ref.name])
            case _:
                assert self.behind[step.ref.name].policy == "Delete", f"{step.ref} goes, and its bytes stay"
                self.behind[step.ref.name] = replace(self.behind[step.ref.name], deleting=True)
        return step.uid

    def _made(self, name: str, goal: Goal) -> str:
        there = self.groups.get(name)
        if there and there.made_by != goal.mark:
            raise Conflict(f"{name} is there already")
        self.groups[name] = there or GroupSnapshot(name, self.world.new_uid(name), "", goal.mark)
        return self.groups[name].uid

    def _set_policy(self, content: str, policy: str) -> None:
        self.behind[content] = replace(self.behind[content], policy=policy)
        for name, group in self.groups.items():
            if group.content == content:
                self.groups[name] = replace(group, policy=policy)

    def _remove(self, group: GroupSnapshot) -> None:
        behind = [self.world.behind[one.content] for one in self.members(group.name) if one.content]
        assert self.behind[group.content].policy == "Delete", f"{group.name} goes, and its bytes stay"
        assert all(one.policy == "Delete" for one in behind), f"{group.name} goes, and a member's content stays"
        self.groups[group.name] = replace(group, deleting=True, is_ready=False)

    def members(self, group: str) -> list[Snapshot]:
        return [one for one in self.world.snapshots.values() if one.group == group]

    def move(self) -> None:
        for group in list(self.groups.values()):
            if group.deleting:
                self._end(group)
            elif group.cut_at is None:
                self._cut(group)
            elif not group.is_ready and all(one.is_ready for one in self.members(group.name)):
                self.groups[group.name] = replace(group, is_ready=True)
        for name, content in list(self.behind.items()):
            if content.deleting and name not in self.world.never_reclaimed:
                del self.behind[name]

    def _end(self, group: GroupSnapshot) -> None:
        """Its content goes first, and its members with it."""
        content = self.behind.get(group.content)
        for one in self.members(group.name):
            self.world.snapshots[one.name] = replace(one, deleting=True)
        if content is None:
            del self.groups[group.name]
        elif not content.deleting:
            self.behind[content.name] = replace(content, deleting=True)

    def _cut(self, group: GroupSnapshot) -> None:
        world = self.world
        claims = [one for one in world.claims.values() if one.grouped_by == group.made_by]
        if not claims or any(one.name in world.never_cut for one in claims):
            return
        handle = f"group-{group.uid}"
        content = GroupContent(
            f"groupsnapcontent-{group.uid}", f"uid-{handle}", "Delete", group.name, group.uid, handle
        )
        self.behind[content.name] = content
        world.pods_at_cut.add(sum(len(state.pods) for state in world.states.values()))
        for claim in claims:
            self._member(group.name, group.made_by, claim.name)
        self.groups[group.name] = replace(
            group, cut_at=values.NOW, content=content.name, policy="Delete", handle=handle
        )

    def _member(self, group: str, made_by: str, claim: str) -> None:
        world = self.world
        uid = world.new_uid(f"snapshot-{claim}")
        world.cuts[uid] = world.data[world.claims[claim].volume]
        made = Content(f"snapcontent-{uid}", f"uid-{uid}", "Delete", f"snapshot-{uid}", uid, uid, "csi")
        world.behind[made.name] = made
        world.snapshots[made.snapshot] = Snapshot(
            made.snapshot,
            uid,
            claim,
            made_by,
            cut_at=values.NOW,
            content=made.name,
            policy="Delete",
            handle=uid,
            driver="csi",
            group=group,
        )
