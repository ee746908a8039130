"""VolumeGroupSnapshots with their contents as values, and the writes that cut a set as one.

A group's members are VolumeSnapshots that its controller makes, by names nobody chose: each is owned by its group.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lifecycle.errors import Conflict, Gone, Invalid
from lifecycle.kube import patch, paths, read, snapshots
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.fence import require
from lifecycle.kube.paths import Resource
from lifecycle.kube.read import EPOCH, GROUPED_BY, MADE_BY, OPERATION
from lifecycle.kube.snapshots import SET, TOGETHER, by_name, seen_with
from lifecycle.model import Step
from lifecycle.operation import Operation
from lifecycle.ports import Lease
from lifecycle.snapshots import group_name
from lifecycle.volumes import GroupSnapshot

API = "groupsnapshot.storage.k8s.io/v1"
LABELS = "/metadata/labels"


def group(found: Json, contents: Mapping[str, Json]) -> GroupSnapshot:
    """With what is known of its content, where that is among ``contents`` and names it."""
    status = read.status_of(found)
    seen = GroupSnapshot(
        name=read.name_of(found),
        uid=read.uid_of(found),
        claim="",
        made_by=read.made_by(found),
        cut_at=snapshots.moment(status.get("creationTime")),
        is_ready=status.get("readyToUse") is True and not read.is_deleting(found),
        error=str((status.get("error") or {}).get("message", "")),
        deleting=read.is_deleting(found),
    )
    return seen_with(seen, found, contents, TOGETHER)


def groups(names: Iterable[str], found: Iterable[Json], contents: Iterable[Json]) -> tuple[GroupSnapshot, ...]:
    """Those of these names."""
    known, wanted = by_name(contents), set(names)
    seen = (group(one, known) for one in found if read.name_of(one) in wanted)
    return tuple(sorted(seen, key=lambda one: one.name))


def body(operation: Operation) -> Json:
    """The VolumeGroupSnapshot that is sent for the set."""
    cutting = operation.goal.cutting
    assert cutting
    return {
        "apiVersion": API,
        "kind": "VolumeGroupSnapshot",
        "metadata": {
            "name": group_name(operation.id),
            "labels": {SET: operation.id},
            "annotations": {MADE_BY: operation.id, OPERATION: operation.id, EPOCH: str(operation.epoch)},
        },
        "spec": {
            "volumeGroupSnapshotClassName": cutting.group_class,
            "source": {"selector": {"matchLabels": {GROUPED_BY: operation.id}}},
        },
    }


def label(step: Step, found: Json, operation: Operation) -> patch.Patch:
    """Put the claim into the group, as long as no later executor has it."""
    return [
        patch.test("/metadata/uid", step.uid),
        patch.test(patch.entry(patch.ANNOTATIONS, EPOCH), str(operation.epoch)),
        *patch.entries(read.metadata(found).get("labels"), LABELS, {GROUPED_BY: operation.id}),
    ]


@dataclass(frozen=True)
class Together:
    """One step of an operation that cuts its set as a group."""

    door: Door
    namespace: str
    step: Step
    operation: Operation
    lease: Lease

    @property
    def _path(self) -> str:
        return paths.of(self.step.ref, self.namespace)

    async def label(self) -> str:
        operations = label(self.step, await self.door.get(self._path), self.operation)
        require(self.lease)
        return read.uid_of(await self.door.patch(self._path, operations))

    async def cut(self) -> str:
        """A name that is taken means done only where this operation made what bears it."""
        require(self.lease)
        try:
            made = await self.door.create(paths.all_of(Resource.GROUPS, self.namespace), body(self.operation))
        except Conflict:
            made = await self.door.get(self._path)
            if read.made_by(made) != self.operation.id:
                raise Invalid(f"{self.step.ref} is there already, and was made by somebody else") from None
        return read.uid_of(made)

    async def itself(self) -> Json:
        """The group with the step's uid. Raises Gone."""
        found = await self.door.get(self._path)
        if read.uid_of(found) != self.step.uid:
            raise Gone(f"{self.step.ref} was replaced by another one")
        return found

    async def member(self) -> Json:
        """The group's snapshot with the step's uid. Raises Gone."""
        answer = await self.door.get(paths.all_of(Resource.SNAPSHOTS, self.namespace))
        found: Json | None = next((one for one in answer.get("items") or [] if read.uid_of(one) == self.step.uid), None)
        if found is None:
            raise Gone(f"the snapshot of {self.step.ref} is gone")
        return found
