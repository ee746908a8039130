"""The objects of one namespace, what the API server does to them on a step, and the moves of their controllers."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from random import Random

from lifecycle.decide import rebind
from lifecycle.errors import ClusterError, Conflict, Gone
from lifecycle.execution import SCRATCHING
from lifecycle.model import Action, Kind, Ref, Step, Verb
from lifecycle.observed import Difference, Discovery, Inventory, Observed, Part
from lifecycle.operation import Goal
from lifecycle.snapshots import Clone, Grouping, group_name, name_of
from lifecycle.topology import arranged
from lifecycle.volumes import Claim, Content, Snapshot, SnapshotClass, Volume
from lifecycle.workloads import Exit, Workload, WorkloadState
from tests.fakes import values
from tests.fakes.groups import GroupWorld
from tests.fakes.scratch import ScratchWorld

NAMELESS = Goal(Verb.STOP, arranged(()), {})
"""A picture for nobody in particular: workloads and claims."""


NO_GROUPS = Grouping(why_not="this Kubernetes knows no volume groups")


@dataclass
class Fault:
    """What Kubernetes answers instead, so often; None: for ever."""

    error: ClusterError
    times: int | None = None


@dataclass(frozen=True)
class Captured:
    """The objects as they were written down."""

    states: dict[Ref, WorkloadState]
    claims: dict[str, Claim]
    parts: dict[Ref, Part] = field(default_factory=dict)


@dataclass
class World:
    """``data`` is what is on each volume: a word that was written when it was made."""

    workloads: dict[Ref, Workload]
    states: dict[Ref, WorkloadState]
    claims: dict[str, Claim] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    parts: dict[Ref, Part] = field(default_factory=dict)
    captures: dict[str, Captured] = field(default_factory=dict)
    copies: dict[tuple[str, str], Captured] = field(default_factory=dict)
    """By the namespace that it was copied to and the operation."""
    exits: list[Exit] = field(default_factory=list)
    faults: dict[str, Fault] = field(default_factory=dict)
    """By Step.key."""
    never_ready: set[Ref] = field(default_factory=set)
    killed: set[Ref] = field(default_factory=set)
    may_execute: bool = False
    """Whether commands may be run in pods."""
    unflushed: dict[Ref, str] = field(default_factory=dict)
    """What is flushed in vain, as long as it may take, and why."""
    flushes: list[tuple[Ref, frozenset[Ref]]] = field(default_factory=list)
    """What was flushed while it ran, and what else had pods then."""
    never_retained: set[str] = field(default_factory=set)
    """Volumes whose patch is accepted and changes nothing."""
    held: set[str] = field(default_factory=set)
    """Claims that stay Terminating."""
    torn: bool = False
    """A piece of each capture never appears."""
    snapshot_classes: tuple[SnapshotClass, ...] | None = None
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    behind: dict[str, Content] = field(default_factory=dict)
    never_reclaimed: set[str] = field(default_factory=set)
    """Volumes and contents whose storage does not let go."""
    cuts: dict[str, str] = field(default_factory=dict)
    """By the handle of a snapshot: what was on its volume when it was cut."""
    sources: dict[str, str] = field(default_factory=dict)
    """By the uid of a claim: the handle of the snapshot that it is to be made of."""
    pods_at_cut: set[int] = field(default_factory=set)
    """How many pods there were when something was cut."""
    never_cut: set[str] = field(default_factory=set)
    """Claims whose driver refuses."""
    never_uploaded: set[str] = field(default_factory=set)
    """Claims whose snapshots are cut, and never ready."""
    guests: dict[str, str] = field(default_factory=dict)
    """By claim: a pod of nobody's that mounts it."""
    differences: dict[Ref, Difference] = field(default_factory=dict)
    """What somebody made otherwise than it was captured."""
    made: int = 0
    grouping: Grouping = NO_GROUPS

    def __post_init__(self) -> None:
        self.together = GroupWorld(self)
        self.scratch = ScratchWorld(self.snapshots, self.cuts)

    @classmethod
    def of(cls, found: Discovery, inventory: Inventory) -> "World":
        return cls(
            workloads={one.ref: one for one in found.workloads},
            states=dict(found.observed.workloads),
            claims={claim.name: claim for claim in found.observed.claims},
            volumes={volume.name: volume for volume in inventory.volumes},
            data={volume.name: f"bytes of {volume.claim}" for volume in inventory.volumes},
            parts={part.ref: part for part in inventory.parts},
            snapshot_classes=inventory.snapshot_classes,
            may_execute=inventory.may_execute,
        )

    def picture(self, goal: Goal, at: datetime = values.NOW) -> Observed:
        """What a watch for this goal shows."""
        if goal.verifying:
            return Observed(at, {}, snapshots=tuple(self.snapshots.values()), scratch=self.scratch.picture(goal))
        claims = tuple(replace(claim, mounted_by=self.mounting(name)) for name, claim in self.claims.items())
        seen = Observed(at, dict(self.states), claims, tuple(self.exits))
        if not goal.is_wide:
            return seen
        source = goal.source or goal.mark
        found = {"": source in self.captures, **{one: (one, source) in self.copies for one in goal.copies}}
        named, refs = goal.watched_volumes, {part.ref for part in goal.parts}
        return replace(
            seen,
            volumes=tuple(volume for name, volume in self.volumes.items() if name in named),
            parts=self._pieces(goal) if goal.purging else tuple(one for ref, one in self.parts.items() if ref in refs),
            snapshots=self._snapshots_of(goal),
            contents=tuple(self.behind.values()) if goal.purging or goal.clones else (),
            groups=self.together.named_by(goal),
            group_contents=tuple(self.together.behind.values()) if goal.purging else (),
            capture=f"sha256-{source}" if any(found.values()) and not self.torn else "",
            lacking=tuple(where for where, is_there in found.items() if not is_there),
        )

    def _snapshots_of(self, goal: Goal) -> tuple[Snapshot, ...]:
        members = goal.cutting.members if goal.cutting else ()
        names = [name_of(goal.mark, member.claim) for member in members]
        names += [one.name for group in self.together.named_by(goal) for one in self.together.members(group.name)]
        names += [clone.snapshot for clone in goal.clones]
        if goal.purging:
            names += sorted({one.snapshot for one in goal.purging.doomed} | {one.name for one in goal.purging.guard})
        found = (self.snapshots.get(name) for name in dict.fromkeys(names))
        return tuple(self.together.as_seen(one) for one in found if one)

    def _pieces(self, goal: Goal) -> tuple[Part, ...]:
        """Each capture is one Secret here."""
        assert goal.purging
        own = [Part(piece_of(one), f"uid-capture-{one}", one) for one in self.captures]
        copied = [
            Part(piece_of(one, where), f"uid-capture-{one}", one, namespace=where)
            for where, one in self.copies
            if where in goal.copies
        ]
        return tuple(part for part in (*own, *copied) if part.made_by in goal.purging.captures)

    def mounting(self, claim: str) -> tuple[str, ...]:
        """The pods that mount it: <template>-<set>-<ordinal> is the claim of <set>-<ordinal>."""
        pods = [
            pod.name
            for ref, state in self.states.items()
            for pod in state.pods
            if claim in {f"{template}-{pod.name}" for template in self.workloads[ref].claims}
        ]
        return (*pods, *(guest for name, guest in self.guests.items() if name == claim))

    def contents(self) -> dict[str, str]:
        """What a pod finds on each claim that is Bound."""
        return {name: self.data[claim.volume] for name, claim in self.claims.items() if claim.status == "Bound"}

    # the API server

    def apply(self, step: Step, goal: Goal, epoch: int) -> str:
        """One step, with the tests that its patch or its preconditions have."""
        if (fault := self.faults.get(step.key)) and fault.times != 0:
            fault.times = fault.times and fault.times - 1
            raise fault.error
        if step.action in SCRATCHING:
            return self.scratch.apply(step, goal)
        if step.action is Action.CAPTURE:
            live = Captured(dict(self.states), dict(self.claims), dict(self.parts))
            captured = self.captures.setdefault(goal.mark, live)
            self.copies |= {(where, goal.mark): captured for where in goal.copies}
            return "uid-capture"
        if step.action is Action.MAKE:
            return self._made(step.ref, goal)
        if step.action is Action.LABEL or step.ref.kind in (Kind.GROUP, Kind.GROUP_CONTENT):
            return self.together.apply(step, goal, epoch)
        if step.action is Action.RETAIN:
            return self._retain(step, goal)
        if self.uid_of(step.ref) != step.uid:
            raise Gone(f"{step.ref} is gone") if not self.uid_of(step.ref) else Conflict(f"{step.ref}: another uid")
        if step.action is Action.CUT:
            return self._cut(step.ref.name, goal)
        if step.action is Action.OVERWRITE:
            self._overwrite(step.ref, goal, epoch)
        elif step.action is Action.RELEASE:
            self._release(step.ref.name)
        elif step.ref.kind is Kind.VOLUME:
            self._patch_volume(step, goal)
        elif step.action is Action.REMOVE:
            self._remove(step.ref, epoch)
        elif step.action is Action.FLUSH:
            self._flush(step.ref, goal, epoch)
        else:
            self._scale(step, goal, epoch)
        return step.uid

    def uid_of(self, ref: Ref) -> str:
        """Empty: there is no such object."""
        match ref.kind:
            case Kind.STATEFUL_SET | Kind.DEPLOYMENT:
                return self.states[ref].uid or "" if ref in self.states else ""
            case Kind.CLAIM:
                return self.claims[ref.name].uid if ref.name in self.claims else ""
            case Kind.VOLUME:
                return self.volumes[ref.name].uid if ref.name in self.volumes else ""
            case Kind.SNAPSHOT:
                return self.snapshots[ref.name].uid if ref.name in self.snapshots else ""
            case Kind.CONTENT:
                return self.behind[ref.name].uid if ref.name in self.behind else ""
            case Kind.GROUP | Kind.GROUP_CONTENT:
                return self.together.uid_of(ref)
            case _ if piece := self._piece_in(ref):
                return f"uid-capture-{piece[1]}"
            case _:
                return self.parts[ref].uid if ref in self.parts else ""

    def _piece_in(self, ref: Ref) -> tuple[str, str] | None:
        """Where it is, empty at home, and of which operation."""
        pieces = [*(("", one) for one in self.captures), *self.copies]
        return next((piece for piece in pieces if piece_of(piece[1], piece[0]) == ref), None)

    def _scale(self, step: Step, goal: Goal, epoch: int) -> None:
        state = self.states[step.ref]
        if state.epoch != epoch:
            raise Conflict("another epoch is stamped")
        newer = replace(state, generation=state.generation + 1)
        match step.action:
            case Action.SCALE_TO_ZERO:
                if state.replicas != step.replicas:
                    raise Conflict("the count changed")
                newer = replace(newer, replicas=0, remembered=step.replicas)
            case Action.SCALE_UP:
                newer = replace(newer, replicas=step.replicas)
            case _:
                newer = replace(newer, restarted_by=goal.mark, ready=0, updated=0, available=0)
        self.states[step.ref] = newer

    def _flush(self, ref: Ref, goal: Goal, epoch: int) -> None:
        """An annotation is no new generation."""
        assert self.may_execute, f"a command was run in the pods of {ref}"
        assert self.states[ref].pods, f"{ref} was flushed, and nothing of it runs"
        if self.states[ref].epoch != epoch:
            raise Conflict("another epoch is stamped")
        self.flushes.append((ref, frozenset(one for one, state in self.states.items() if state.pods) - {ref}))
        trouble = self.unflushed.get(ref, "")
        self.states[ref] = replace(self.states[ref], flushed_by=goal.mark, flush_trouble=trouble)

    def _remove(self, ref: Ref, epoch: int) -> None:
        if ref.kind is Kind.CLAIM:
            if self.claims[ref.name].epoch != epoch:
                raise Conflict("another epoch is stamped")
            self.claims[ref.name] = replace(self.claims[ref.name], status=Claim.TERMINATING)
        elif ref in self.states:
            if self.states[ref].epoch != epoch:
                raise Conflict("another epoch is stamped")
            assert not self.states[ref].pods, f"{ref} was removed under its pods"
            for name in [name for name, claim in self.claims.items() if self.states[ref].uid in claim.goes_with]:
                self.claims[name] = replace(self.claims[name], status=Claim.TERMINATING)
            del self.states[ref]
        elif ref.kind is Kind.SNAPSHOT:
            content = self.behind.get(self.snapshots[ref.name].content)
            assert content is None or content.policy == "Delete", f"{ref} goes, and its bytes stay"
            self.snapshots[ref.name] = replace(self.snapshots[ref.name], deleting=True, is_ready=False)
        elif ref.kind is Kind.CONTENT:
            content = self.behind[ref.name]
            bound = {one.content for one in self.snapshots.values()}
            is_stray = ref.name not in bound and any(
                other.handle == content.handle for other in self.behind.values() if other is not content
            )
            assert content.policy == "Delete" or is_stray, f"{ref} goes, and its bytes stay"
            self.behind[ref.name] = replace(content, deleting=True)
        elif piece := self._piece_in(ref):
            where, operation = piece
            if where:
                del self.copies[piece]
            else:
                del self.captures[operation]
        else:
            del self.parts[ref]

    def _cut(self, claim: str, goal: Goal) -> str:
        name = name_of(goal.mark, claim)
        there = self.snapshots.get(name)
        if there and there.made_by != goal.mark:
            raise Conflict(f"{name} is there already")
        self.snapshots[name] = there or Snapshot(name, self.new_uid(name), claim, goal.mark)
        return self.snapshots[name].uid

    def _retain(self, step: Step, goal: Goal) -> str:
        members = self.together.members(group_name(goal.mark)) if goal.is_grouped else []
        name = next((one.name for one in members if one.uid == step.uid), name_of(goal.mark, step.ref.name))
        there = self.snapshots.get(name)
        if there is None or there.uid != step.uid:
            raise Gone(f"{name} is gone")
        self.snapshots[name] = replace(there, policy=Volume.RETAIN)
        self.behind[there.content] = replace(self.behind[there.content], policy=Volume.RETAIN)
        return there.uid

    def _overwrite(self, ref: Ref, goal: Goal, epoch: int) -> None:
        if ref in self.states:
            if self.states[ref].epoch != epoch:
                raise Conflict("another epoch is stamped")
            assert not self.states[ref].replicas, f"{ref} was overwritten under its pods"
            self.states[ref] = replace(self.states[ref], written_by=goal.mark, made_by=goal.source)
        else:
            self.parts[ref] = replace(self.parts[ref], written_by=goal.mark, made_by=goal.source)
        self.differences.pop(ref, None)

    def _release(self, name: str) -> None:
        content = self.behind[name] = replace(self.behind[name], policy="Delete")
        if there := self.snapshots.get(content.snapshot):
            self.snapshots[there.name] = replace(there, policy="Delete")

    def _patch_volume(self, step: Step, goal: Goal) -> None:
        volume = self.volumes[step.ref.name]
        match step.action:
            case Action.KEEP if volume.name in self.never_retained:
                return
            case Action.KEEP:
                before = volume.policy_before if volume.kept_by else volume.policy
                volume = replace(volume, policy=Volume.RETAIN, kept_by=goal.mark, policy_before=before)
            case Action.REBIND:
                volume = replace(volume, claim_uid="", phase="Available")
            case Action.GIVE_UP:
                assert volume.phase == "Released", f"{volume.name} is given up, and it is {volume.phase}"
                namesake = self.claims.get(volume.claim)
                is_free = namesake is None or namesake.volume not in ("", volume.name)
                assert is_free, f"{volume.name} is given up under its claim"
                volume = replace(volume, policy=volume.policy_before, kept_by="", policy_before="")
            case _:
                volume = replace(volume, policy=volume.policy_before, kept_by="", policy_before="")
        self.volumes[volume.name] = volume

    def _made(self, ref: Ref, goal: Goal) -> str:
        """From the capture; a 409 means done only where the object bears the operation's id."""
        if lost := rebind.clone_of(goal, ref):
            return self._rebound(ref, lost, goal)
        if there := self.uid_of(ref):
            if self._maker(ref) != (goal.cloned_by if goal.clone(ref.name) else goal.source):
                raise Conflict(f"{ref} is there already")
            return there
        if clone := goal.clone(ref.name):
            return self._cloned(clone, goal)
        captured, uid = self._captured(goal), self.new_uid(ref.name)
        if ref in captured.states:
            remembered = captured.states[ref].remembered
            self.states[ref] = WorkloadState(
                uid, generation=1, remembered=remembered, made_by=goal.source, written_by=goal.mark
            )
        elif ref.kind is Kind.CLAIM:
            claim = captured.claims[ref.name]
            self.claims[ref.name] = replace(claim, uid=uid, status="Pending", made_by=goal.source, epoch=0)
        else:
            self.parts[ref] = Part(ref, uid, goal.source, written_by=goal.mark)
        return uid

    def _captured(self, goal: Goal) -> Captured:
        copied = [self.copies[where, goal.source] for where in goal.copies if (where, goal.source) in self.copies]
        return self.captures.get(goal.source) or copied[0]

    def _rebound(self, ref: Ref, lost: Clone, goal: Goal) -> str:
        if there := self.uid_of(ref):
            return there
        uid, content = self.new_uid(ref.name), rebind.content_of(goal, lost).name
        if ref.kind is Kind.CONTENT:
            self.behind[content] = Content(content, uid, "Retain", lost.snapshot, "", lost.handle, lost.driver)
        else:
            assert content in self.behind, "a snapshot is made before its content"
            self.snapshots[ref.name] = Snapshot(ref.name, uid, "", goal.chosen, content=content)
        return uid

    def _cloned(self, clone: Clone, goal: Goal) -> str:
        uid = self.new_uid(clone.claim)
        self.claims[clone.claim] = Claim(clone.claim, uid, "Pending", storage_class="clone", made_by=goal.cloned_by)
        self.sources[uid] = clone.handle
        return uid

    def _maker(self, ref: Ref) -> str:
        if ref in self.states:
            return self.states[ref].made_by
        return self.claims[ref.name].made_by if ref.kind is Kind.CLAIM else self.parts[ref].made_by

    def new_uid(self, name: str) -> str:
        self.made += 1
        return f"uid-{name}-{self.made}"

    # the controllers

    def move(self, chance: Random | None = None) -> None:
        """One move of every controller, or of some by chance, judged on what was there before it."""
        before = dict(self.states)
        moves: list[Callable[[], None]] = [partial(self._move_workload, ref, before) for ref in before]
        moves += [self._reap_claims, self._bind_claims, self._reclaim_volumes, self._cut_snapshots]
        moves += [self.scratch.move]
        moves += [self._remove_snapshots, self._bind_contents, self.together.move]
        if chance:
            moves = chance.sample(moves, chance.randint(1, len(moves)))
        for move in moves:
            move()

    def _move_workload(self, ref: Ref, before: dict[Ref, WorkloadState]) -> None:
        needs = arranged(self.workloads.values()).needs_of(self.workloads[ref])
        needs_met = all(need.ref in before and before[need.ref].is_ready(need.ref.kind) for need in needs)
        mounted = all(self.claims[name].status == "Bound" for name in self._claims_of(ref) if name in self.claims)
        may = needs_met and mounted and ref not in self.never_ready
        self.states[ref] = self._moved(ref, before[ref], may_be_ready=may)

    def _moved(self, ref: Ref, state: WorkloadState, *, may_be_ready: bool) -> WorkloadState:
        if state.observed_generation < state.generation:
            return replace(state, observed_generation=state.generation)
        if len(state.pods) != state.replicas:
            code = 137 if ref in self.killed else 0
            if not state.replicas:
                self.exits += [
                    Exit(pod.name, pod.uid, container.name, code) for pod in state.pods for container in pod.containers
                ]
            self._claim_for(ref, state.replicas)
            fresh = values.pods(self.workloads[ref], state.replicas, ready=False)
            return replace(state, pods=fresh, status_replicas=len(fresh), ready=0, available=0, updated=len(fresh))
        if may_be_ready and state.replicas:
            n = state.replicas
            return replace(state, ready=n, available=n, updated=n, revision_settled=True)
        return state

    def _claims_of(self, ref: Ref) -> list[str]:
        names = [pod.name for pod in self.states[ref].pods]
        return [f"{template}-{name}" for template in self.workloads[ref].claims for name in names]

    def _claim_for(self, ref: Ref, replicas: int) -> None:
        """A StatefulSet makes each claim that is not there, empty."""
        for template in self.workloads[ref].claims:
            for ordinal in range(replicas):
                name = f"{template}-{ref.name}-{ordinal}"
                self.claims.setdefault(name, Claim(name, self.new_uid(name), "Pending"))

    def _reap_claims(self) -> None:
        for name, claim in list(self.claims.items()):
            if claim.status == Claim.TERMINATING and not self.mounting(name) and name not in self.held:
                del self.claims[name]

    def _reclaim_volumes(self) -> None:
        uids = {claim.uid for claim in self.claims.values()}
        for name, volume in list(self.volumes.items()):
            if volume.claim_uid and volume.claim_uid not in uids:
                if volume.is_retained or name in self.never_reclaimed:
                    self.volumes[name] = replace(volume, phase="Released")
                else:
                    del self.volumes[name], self.data[name]

    def _bind_claims(self) -> None:
        for name, claim in self.claims.items():
            if claim.status == "Pending" and (volume := self._volume_for(claim)):
                self.volumes[volume.name] = replace(volume, phase="Bound", claim=name, claim_uid=claim.uid)
                self.claims[name] = replace(claim, status="Bound", volume=volume.name)

    def _cut_snapshots(self) -> None:
        for name, one in list(self.snapshots.items()):
            if one.cut_at is None and one.claim in self.claims and one.claim not in self.never_cut:
                self.pods_at_cut.add(sum(len(state.pods) for state in self.states.values()))
                self.cuts[one.uid] = self.data[self.claims[one.claim].volume]
                content = {"content": f"snapcontent-{one.uid}", "handle": one.uid, "driver": "csi", "policy": "Delete"}
                made = content["content"]
                self.behind[made] = Content(made, f"uid-{made}", "Delete", name, one.uid, one.uid, "csi")
                self.snapshots[name] = replace(one, cut_at=values.NOW, **content)
            elif one.cut_at and not one.is_ready and one.claim not in self.never_uploaded:
                self.snapshots[name] = replace(one, is_ready=True, size=1 << 30)

    def _bind_contents(self) -> None:
        """A snapshot that names a content of known data is ready once both name each other."""
        for name, one in list(self.snapshots.items()):
            content = self.behind.get(one.content)
            if one.claim or one.is_ready or content is None or content.snapshot != name:
                continue
            self.behind[content.name] = replace(content, snapshot_uid=one.uid)
            if content.handle in self.cuts:
                shown = {"policy": content.policy, "handle": content.handle, "driver": content.driver}
                self.snapshots[name] = replace(one, cut_at=values.NOW, is_ready=True, size=1 << 30, **shown)

    def lose_namespace(self) -> None:
        """Somebody deletes it and makes another one of the same name: what outlives it is in no namespace."""
        for gone in (self.states, self.claims, self.parts, self.captures, self.snapshots, self.together.groups):
            gone.clear()
        self._reclaim_volumes()

    def _remove_snapshots(self) -> None:
        """A snapshot goes, then its bytes where its content lets them go, and at last the content."""
        for name, one in list(self.snapshots.items()):
            if one.deleting:
                del self.snapshots[name]
                if (behind := self.behind.get(one.content)) and behind.policy == "Delete":
                    self.behind[behind.name] = replace(behind, deleting=True)
        for name, content in list(self.behind.items()):
            there = self.snapshots.get(content.snapshot)
            is_held = there is not None and there.uid == content.snapshot_uid
            if not content.deleting or is_held or name in self.never_reclaimed:
                continue
            if content.handle and content.policy == "Delete":
                self.cuts.pop(content.handle, None)
                self.behind[name] = replace(content, handle="")
            else:
                del self.behind[name]

    def _volume_for(self, claim: Claim) -> Volume | None:
        """The one it names, one that is reserved for it, one that is anybody's, or a new one for a pod that waits."""
        free = [one for one in self.volumes.values() if not one.claim_uid and claim.volume in ("", one.name)]
        for reserved in (claim.name, ""):
            for volume in free:
                if volume.claim == reserved and (reserved or volume.storage_class == claim.storage_class):
                    return volume
        if claim.volume or not self.mounting(claim.name):
            return None
        name = f"pvc-{self.new_uid('new')}"
        self.data[name] = self.cuts[self.sources[claim.uid]] if claim.uid in self.sources else "empty"
        return Volume(name, f"uid-{name}", "Delete", storage_class=claim.storage_class, driver=values.CSI, is_csi=True)


def piece_of(operation: str, where: str = "") -> Ref:
    """The Secret that is the operation's capture, or the copy of it there."""
    return Ref(Kind.SECRET, f"tml-bot-{f'copy-{where}' if where else 'capture'}-{operation}-0")
