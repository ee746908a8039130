"""One step, done: each write with tests on all that was decided upon, each under the Lease."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from lifecycle.decide import rebind
from lifecycle.errors import Conflict, Gone, Invalid
from lifecycle.kube import copies, flushing, overwriting, patch, paths, purging, read, snapshots, volumes
from lifecycle.kube.answers import Accept, Json
from lifecycle.kube.capture import Captor, Reader
from lifecycle.kube.door import Door
from lifecycle.kube.fence import require
from lifecycle.kube.groups import Together
from lifecycle.kube.patch import Patch
from lifecycle.kube.paths import CONFIDENTIAL, OF_KIND, WORKLOADS, Resource
from lifecycle.kube.quiescing import Quieting
from lifecycle.kube.scratch import Bench
from lifecycle.kube.snapshots import SINGLE, TOGETHER, Fields
from lifecycle.model import Action, Kind, Ref, Step, Verb
from lifecycle.operation import Goal, Operation
from lifecycle.ports import Lease, Watch
from lifecycle.retention import OF_SETS
from lifecycle.snapshots import Member, name_of
from lifecycle.volumes import Claim, Volume


@dataclass(frozen=True)
class Doing:
    """A step of an operation; `do` returns the uid of the object that it was done to."""

    door: Door
    namespace: str
    step: Step
    operation: Operation
    lease: Lease
    captures: Reader
    flush_seconds: float
    watch: Callable[[Goal], AbstractAsyncContextManager[Watch]]
    """Running pictures, for a step that has to see its own effect before it goes on."""

    @property
    def goal(self) -> Goal:
        return self.operation.goal

    @property
    def path(self) -> str:
        return paths.of(self.step.ref, self._where)

    @property
    def _where(self) -> str:
        """Pieces of captures that a purge removes may lie in another namespace."""
        part = next((one for one in self.goal.parts if one.ref == self.step.ref), None)
        return (part.namespace if part else "") or self.namespace

    async def do(self) -> str:
        require(self.lease)
        return await _DONE_BY[self.step.action](self)

    async def flush(self) -> str:
        """What came of it is written on the object, where every later picture shows it."""
        workload = self.goal.topology[self.step.ref]
        trouble = await flushing.flush(self.door, self.namespace, workload, seconds=self.flush_seconds)
        return await self._patch(patch.flushed(self.step, self.operation.epoch, self.operation.id, trouble))

    async def scale_to_zero(self) -> str:
        return await self._patch(patch.scale_to_zero(self.step, self.operation.epoch, self.operation.id))

    async def scale_up(self) -> str:
        return await self._patch(patch.scale_up(self.step, self.operation.epoch, self.operation.id))

    async def rollout_restart(self) -> str:
        found = await self.door.get(self.path)
        return await self._patch(patch.rollout_restart(self.step, found, self.operation.epoch, self.operation.id))

    async def keep(self) -> str:
        volume = _volume(self.goal, self.step.ref)
        claim = next((one for one in self.goal.claims if one.name == volume.claim), None)
        return await self._patch(volumes.keep(self.step, await self._own(), claim, self.operation.id))

    async def rebind(self) -> str:
        claim = _volume(self.goal, self.step.ref).claim
        return await self._patch(volumes.rebind(self.step, await self._own(), self.namespace, claim))

    async def give_back(self) -> str:
        operations = volumes.give_back(self.step, await self._own(), self.goal.source)
        if operations:
            await self._require_held()
        return await self._patch(operations)

    async def _require_held(self) -> None:
        """Raises Conflict where the claim goes, or is another one: with its policy back, the volume would go with it.

        A claim that is being deleted stays Bound, and its volume unchanged, until the last pod that mounts it ends.
        """
        volume = _volume(self.goal, self.step.ref)
        try:
            claim = await self.door.get(paths.of(Claim.ref_of(volume.claim), self.namespace))
        except Gone:
            raise Conflict(f"claim {volume.claim} is gone, so {self.step.ref} stays kept") from None
        if read.is_deleting(claim) or read.spec_of(claim).get("volumeName") != volume.name:
            raise Conflict(f"claim {volume.claim} is going, or is of another volume: {self.step.ref} stays kept")

    async def capture(self) -> str:
        await Captor(self.door, self.namespace, self.operation, self.lease).write()
        return ""

    async def cut(self) -> str:
        """A name that is taken means done only where this operation made what bears it."""
        if self.step.ref.kind is Kind.GROUP:
            return await self._together.cut()
        member = self._member()
        if read.uid_of(await self._read()) != member.uid:
            raise Invalid(f"{self.step.ref} was replaced by another claim of the same name")
        require(self.lease)
        try:
            made = await self.door.create(
                paths.all_of(Resource.SNAPSHOTS, self.namespace), snapshots.body(member, self.operation)
            )
        except Conflict:
            made = await self._snapshot(member)
            snapshots.require_ours(made, member, self.operation)
        return read.uid_of(made)

    async def label(self) -> str:
        return await self._together.label()

    @property
    def _together(self) -> Together:
        return Together(self.door, self.namespace, self.step, self.operation, self.lease)

    async def retain(self) -> str:
        if self.step.ref.kind is Kind.GROUP:
            return await self._retained(await self._together.itself(), Resource.GROUP_CONTENTS, TOGETHER)
        if self.goal.is_grouped:
            return await self._retained(await self._together.member(), Resource.SNAPSHOT_CONTENTS, SINGLE)
        found = await self._snapshot(self._member())
        if read.uid_of(found) != self.step.uid:
            raise Gone(f"the snapshot of {self.step.ref} was replaced by another one")
        return await self._retained(found, Resource.SNAPSHOT_CONTENTS, SINGLE)

    async def _retained(self, found: Json, contents: Resource, fields: Fields) -> str:
        path = paths.one_of(contents, self.namespace, snapshots.bound_content(found, fields))
        if operations := snapshots.retain(self.step, await self.door.get(path), found, fields):
            require(self.lease)
            await self.door.patch(path, operations)
        return self.step.uid

    async def release(self) -> str:
        one = purging.doomed(self.goal.purging, self.step.ref)
        await purging.snapshot_of(self.door, self.namespace, one)
        found = await purging.content_of(self.door, self.namespace, one)
        if found is None:
            return self.step.uid
        await purging.require_unused(self.door, self.namespace, one)
        await purging.require_only_content(self.door, one)
        return await self._patch(purging.release(self.step, found))

    async def give_up(self) -> str:
        """What is gone already, or another object of the same name by now, is not to be given up any more."""
        frozen = _volume(self.goal, self.step.ref)
        try:
            operations = purging.give_up(self.step, await self._own(), self.namespace, frozen)
            await purging.require_no_claim(self.door, self.namespace, frozen)
            await purging.require_only_volume(self.door, self.namespace, frozen)
            await self._patch(operations)
        except Gone:
            pass
        return self.step.uid

    async def _require_forgettable(self) -> None:
        """Of a snapshot, or of a content that its snapshot left behind: its bytes go with it, and nobody uses it.

        With a group go its members.
        """
        one = purging.doomed(self.goal.purging, self.step.ref)
        there = await purging.snapshot_of(self.door, self.namespace, one)
        if there is not None and self.step.ref == one.content_ref:
            raise Conflict(f"{self.step.ref} goes after its snapshot")
        for each in (one, *purging.members_of(self.goal.purging, one)):
            purging.require_released(await purging.content_of(self.door, self.namespace, each), each)
            await purging.require_unused(self.door, self.namespace, each)

    def _member(self) -> Member:
        found = self.goal.cutting.member(self.step.ref.name) if self.goal.cutting else None
        if found is None:
            raise Invalid(f"{self.step.ref} is none of the claims of this set")
        return found

    async def _snapshot(self, member: Member) -> Json:
        name = name_of(self.operation.id, member.claim)
        return await self.door.get(paths.one_of(Resource.SNAPSHOTS, self.namespace, name))

    async def remove(self) -> str:
        """What is gone already, or another object of the same name by now, is not to be removed any more."""
        try:
            found = await self._own()
            await self._refuse_removal(found)
            require(self.lease)
            await self.door.delete(self.path, self.step.uid, read.metadata(found).get("resourceVersion", ""))
        except Gone:
            pass
        return self.step.uid

    async def _refuse_removal(self, found: Json) -> None:
        """Raises Conflict where another executor has it, or where it is not as it was decided upon."""
        ref, epoch = self.step.ref, read.epoch_of(found)
        if purging.is_stray(self.goal.purging, ref):
            purging.require_harmless(found)
        elif ref.kind in OF_SETS:
            await self._require_forgettable()
        if ref.kind in (*WORKLOADS, Kind.CLAIM) and epoch != self.operation.epoch:
            raise Conflict(f"{ref} bears epoch {epoch}, ours is {self.operation.epoch}")
        if ref.kind in WORKLOADS and read.replicas_of(found) > 0:
            raise Conflict(f"{ref} was scaled up again")
        if ref.kind is Kind.CLAIM and (volume := read.spec_of(found).get("volumeName")):
            await self._require_kept(Ref(Kind.VOLUME, volume))
        if ref.kind is Kind.STATEFUL_SET and self.goal.verb is Verb.REMOVE:
            await self._require_claims_stay(found)

    async def _require_claims_stay(self, found: Json) -> None:
        """Nothing keeps the volumes of claims that are to stay: none may go with the set that is removed.

        Its policy cannot change unseen after this: the delete names the version that was read.
        """
        answer = await self.door.get(paths.all_of(Resource.CLAIMS, self.namespace))
        owned = [read.name_of(one) for one in answer.get("items") or [] if self.step.uid in read.owners_of(one)]
        if owned or read.takes_claims_along(found):
            raise Invalid(f"{self.step.ref} would take its claims along: its retention policy was changed")

    async def _require_kept(self, volume: Ref) -> None:
        """The picture may be older than what somebody did to the volume since."""
        may_lose = self.goal.may_lose(self.step.ref.name, self.step.uid)
        try:
            behind = await self.door.get(paths.of(volume, self.namespace))
        except Gone:
            if may_lose:
                return
            raise Conflict(f"{volume} of {self.step.ref} is gone") from None
        if may_lose:
            volumes.require_anothers(behind, self.step.ref, self.step.uid)
        else:
            volumes.require_kept(behind, self.step.ref, self.step.uid, self.operation.id)

    async def make(self) -> str:
        """As it was captured, or of the chosen set. A name that is taken means done only where this restore made it."""
        if self.step.ref.kind in (Kind.CONTENT, Kind.SNAPSHOT):
            return await self._create(self._rebound(), self.goal.chosen)
        clone = self.goal.clone(self.step.ref.name) if self.step.ref.kind is Kind.CLAIM else None
        if clone:
            return await self._create(copies.cloned(clone, self.operation), self.goal.cloned_by)
        body = copies.copy(self.step.ref, await self._captured(), self.operation)
        return await self._create(body, self.goal.source)

    def _rebound(self) -> Json:
        """A content, or a snapshot on it, for a member of the chosen set."""
        lost = rebind.clone_of(self.goal, self.step.ref)
        if lost is None:
            raise Invalid(f"{self.step.ref} is of no member of {self.goal.chosen}")
        content = rebind.content_of(self.goal, lost)
        if self.step.ref == content:
            return snapshots.content_again(lost, content.name, self.operation, self.namespace)
        return snapshots.again(lost, content.name, self.operation)

    async def _captured(self) -> Json:
        captured = await self.captures.read(self.goal.source, self.goal.captured, self.goal.copies)
        if self.step.ref not in captured:
            raise Invalid(f"{self.step.ref} is not in the capture of {self.goal.source}")
        return captured[self.step.ref]

    async def _create(self, body: Json, mark: str) -> str:
        require(self.lease)
        try:
            return read.uid_of(await self.door.create(paths.all_of(OF_KIND[self.step.ref.kind], self.namespace), body))
        except Conflict:
            return await self._made_before(mark)

    async def _made_before(self, mark: str) -> str:
        found = await self._read()
        if read.made_by(found) != mark:
            raise Invalid(f"{self.step.ref} was made by somebody else, and a restore never overwrites")
        return read.uid_of(found)

    async def overwrite(self) -> str:
        """As it was captured, in place: of the version that was just read, and of no later one."""
        wanted = copies.copy(self.step.ref, await self._captured(), self.operation)
        found = await self.door.get(self.path)
        if read.uid_of(found) != self.step.uid:
            raise Conflict(f"{self.step.ref} is another object by now")
        return await self._patch(overwriting.overwrite(self.step, found, wanted, self.operation))

    @property
    def _bench(self) -> Bench:
        return Bench(self.door, self.namespace, self.operation, self.lease)

    async def clone(self) -> str:
        return await self._bench.clone(self.step)

    async def check(self) -> str:
        return await self._bench.check(self.step)

    async def let_go(self) -> str:
        return await self._bench.let_go(self.step)

    async def clean(self) -> str:
        return await self._bench.clean(self.step)

    @property
    def _quieting(self) -> Quieting:
        return Quieting(self.door, self.namespace, self.step, self.operation, self.lease)

    async def quiesce(self) -> str:
        async with self.watch(self.goal) as watch:
            return await self._quieting.quiesce(watch, self._again)

    async def _again(self, step: Step) -> None:
        """Another step of the same operation."""
        await replace(self, step=step).do()

    async def resume(self) -> str:
        return await self._quieting.resume()

    async def _own(self) -> Json:
        """The object with the step's uid. Raises Gone where another one has its name."""
        found = await self._read()
        if read.uid_of(found) != self.step.uid:
            raise Gone(f"{self.step.ref} was replaced by another object of the same name")
        return found

    async def _read(self) -> Json:
        is_confidential = OF_KIND[self.step.ref.kind] in CONFIDENTIAL
        return await self.door.get(self.path, accept=Accept.METADATA if is_confidential else Accept.WHOLE)

    async def _patch(self, operations: Patch) -> str:
        if not operations:
            return self.step.uid
        require(self.lease)
        return read.uid_of(await self.door.patch(self.path, operations))


def _volume(goal: Goal, ref: Ref) -> Volume:
    found = next((one for one in goal.volumes if one.ref == ref), None)
    if found is None:
        raise Invalid(f"{ref} is none of the volumes of this operation")
    return found


_DONE_BY: dict[Action, Callable[[Doing], Awaitable[str]]] = {
    Action.FLUSH: Doing.flush,
    Action.SCALE_TO_ZERO: Doing.scale_to_zero,
    Action.SCALE_UP: Doing.scale_up,
    Action.ROLLOUT_RESTART: Doing.rollout_restart,
    Action.CAPTURE: Doing.capture,
    Action.CUT: Doing.cut,
    Action.LABEL: Doing.label,
    Action.RETAIN: Doing.retain,
    Action.KEEP: Doing.keep,
    Action.REMOVE: Doing.remove,
    Action.MAKE: Doing.make,
    Action.OVERWRITE: Doing.overwrite,
    Action.REBIND: Doing.rebind,
    Action.GIVE_BACK: Doing.give_back,
    Action.CLONE: Doing.clone,
    Action.CHECK: Doing.check,
    Action.LET_GO: Doing.let_go,
    Action.CLEAN: Doing.clean,
    Action.RELEASE: Doing.release,
    Action.GIVE_UP: Doing.give_up,
    Action.QUIESCE: Doing.quiesce,
    Action.RESUME: Doing.resume,
}
