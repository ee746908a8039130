"""Why a claim, a volume, a snapshot or a part is not where it should be: still there, or not yet."""

import asyncio
from collections.abc import Collection, Iterator

from lifecycle.decide.delete import CAPTURE
from lifecycle.errors import ClusterError, Gone
from lifecycle.kube import groups, paths, read, rights, snapshots, volumes
from lifecycle.kube.answers import Accept, Json
from lifecycle.kube.door import Door
from lifecycle.kube.evidence import SECONDS, Evidence
from lifecycle.kube.parallel import together
from lifecycle.kube.paths import CONFIDENTIAL, OF_KIND, WORKLOADS, Resource
from lifecycle.kube.snapshots import SINGLE, TOGETHER, Fields
from lifecycle.kube.symptoms import Symptom, Weight, of_pod, symptom
from lifecycle.model import Kind, Ref
from lifecycle.ports import Right
from lifecycle.volumes import Claim, GroupSnapshot, Snapshot, Volume

PATCHING = Right("patch", "", "persistentvolumes")
RETAINING = {
    Kind.SNAPSHOT: Right("patch", "snapshot.storage.k8s.io", "volumesnapshotcontents"),
    Kind.GROUP: Right("patch", "groupsnapshot.storage.k8s.io", "volumegroupsnapshotcontents"),
}


def asked_for(missing: Collection[str]) -> list[Ref]:
    """The Ref texts that are of no workload; what is of no kind we know is left out."""
    kinds = {kind.lower(): kind for kind in OF_KIND if kind not in WORKLOADS}
    split = (text.partition("/") for text in missing)
    return [Ref(kinds[kind], name) for kind, _, name in split if kind in kinds]


async def explain(door: Door, namespace: str, missing: Collection[str], found: Evidence) -> list[Symptom]:
    """Never raises for what cannot be read: that is a symptom too."""
    told = await together(_explained(door, namespace, ref, found) for ref in asked_for(missing))
    return sorted((one for each in told for one in each), key=lambda one: one.weight)


async def _explained(door: Door, namespace: str, ref: Ref, found: Evidence) -> list[Symptom]:
    try:
        async with asyncio.timeout(SECONDS):
            return await _of(door, namespace, ref, found)
    except Gone:
        return [symptom(Weight.WAITING, str(ref), "does not exist")]
    except TimeoutError:
        return [symptom(Weight.SUMMARY, str(ref), "cannot be read", f"no answer within {SECONDS:g} s")]
    except ClusterError as error:
        return [symptom(Weight.SUMMARY, str(ref), "cannot be read", str(error))]


async def _of(door: Door, namespace: str, ref: Ref, found: Evidence) -> list[Symptom]:
    if ref == CAPTURE:
        return [symptom(Weight.WAITING, str(ref), "not whole", "not every piece of it was seen in the namespace")]
    accept = Accept.METADATA if OF_KIND[ref.kind] in CONFIDENTIAL else Accept.WHOLE
    one = await door.get(paths.of(ref, namespace), accept=accept)
    if ref.kind is Kind.CLAIM:
        return list(_of_claim(ref, one, found))
    if ref.kind is Kind.VOLUME:
        return await _of_volume(door, namespace, ref, one)
    if ref.kind is Kind.SNAPSHOT:
        return await _of_snapshot(door, namespace, ref, one)
    if ref.kind is Kind.GROUP:
        return await _of_group(door, namespace, ref, one)
    if ref.kind is Kind.POD:
        return _of_check(ref, one, found)
    return [_terminating(ref, one) if read.is_deleting(one) else symptom(Weight.WAITING, str(ref), "still there")]


def _of_claim(ref: Ref, claim: Json, found: Evidence) -> Iterator[Symptom]:
    """A pod that has ended holds its claim too, until somebody removes it."""
    pods = [one for one in found.of(Resource.PODS) if ref.name in read.claims_mounted_by(one)]
    users = ", ".join(f"pod/{read.name_of(pod)} ({read.status_of(pod).get('phase', 'Unknown')})" for pod in pods)
    mounted = f"mounted by {users}" if users else "no pod mounts it"
    if read.is_deleting(claim):
        yield _terminating(ref, claim, mounted)
        return
    seen = read.claim(claim)
    if seen.status == "Bound":
        yield symptom(Weight.WAITING, str(ref), "Bound", f"to volume {seen.volume}; {mounted}")
        return
    event = found.event(Kind.CLAIM, claim)
    reason, message = (event.get("reason"), event.get("message", "")) if event else (seen.status, "")
    wanted = f"waits for volume {seen.volume}; " if seen.volume else ""
    yield symptom(Weight.CAUSE, str(ref), str(reason or seen.status), f"{seen.status}; {wanted}{message}")


def _of_check(ref: Ref, pod: Json, found: Evidence) -> list[Symptom]:
    """A pod that no controller made: its own symptoms, and those of the claims that it waits for."""
    if read.status_of(pod).get("phase") == "Succeeded" and not read.is_deleting(pod):
        return [symptom(Weight.WAITING, str(ref), "Succeeded", "still there")]
    mounted = read.claims_mounted_by(pod)
    claims = [one for one in found.of(Resource.CLAIMS) if read.name_of(one) in mounted]
    waiting = [one for one in claims if read.claim(one).status != "Bound"]
    behind = [told for one in waiting for told in _of_claim(Claim.ref_of(read.name_of(one)), one, found)]
    return [*of_pod(pod, found), *behind]


def _terminating(ref: Ref, found: Json, more: str = "") -> Symptom:
    """What holds it is a finalizer, and whoever is to remove that."""
    metadata = read.metadata(found)
    said = [f"since {metadata.get('deletionTimestamp')}"]
    said += [f"finalizers: {', '.join(metadata['finalizers'])}"] if metadata.get("finalizers") else []
    return symptom(Weight.CAUSE, str(ref), Claim.TERMINATING, "; ".join([*said, *([more] if more else [])]))


async def _of_volume(door: Door, namespace: str, ref: Ref, found: Json) -> list[Symptom]:
    if read.is_deleting(found):
        return [_terminating(ref, found)]
    seen: Volume = volumes.volume(found, namespace)
    message = f"{seen.phase}, for {seen.claim or 'no claim of this namespace'}"
    message += f"; kept by {seen.kept_by}, {seen.policy_before} before" if seen.kept_by else ""
    told = symptom(Weight.WAITING, str(ref), f"reclaim policy {seen.policy}", message)
    if await rights.missing(door, namespace, [PATCHING]):
        return [symptom(Weight.CAUSE, str(ref), "may not be patched", f"the bot has no right to {PATCHING}"), told]
    return [told]


async def _of_snapshot(door: Door, namespace: str, ref: Ref, found: Json) -> list[Symptom]:
    if read.is_deleting(found):
        return [_terminating(ref, found)]
    contents = await _content_of(door, namespace, found, SINGLE, Resource.SNAPSHOT_CONTENTS)
    seen = snapshots.snapshot(found, snapshots.by_name(contents))
    return [await _of_cut(door, namespace, ref, seen, is_taken_up=bool(contents))]


async def _of_group(door: Door, namespace: str, ref: Ref, found: Json) -> list[Symptom]:
    """With its members: the group may be ready, and one of them never say so."""
    if read.is_deleting(found):
        return [_terminating(ref, found)]
    contents = await _content_of(door, namespace, found, TOGETHER, Resource.GROUP_CONTENTS)
    seen = groups.group(found, snapshots.by_name(contents))
    told = await _of_cut(door, namespace, ref, seen, is_taken_up=bool(contents))
    return [*await _of_members(door, namespace, seen), told]


async def _of_members(door: Door, namespace: str, group: GroupSnapshot) -> list[Symptom]:
    answer = await door.get(paths.all_of(Resource.SNAPSHOTS, namespace))
    members = (snapshots.snapshot(one, {}) for one in answer.get("items") or [] if group.uid in read.owners_of(one))
    late = "its group is ready, and it does not say so" if group.is_ready else ""
    return [
        symptom(Weight.CAUSE, str(one.ref), "not ready", f"of claim {one.claim}; {one.error or late}".rstrip("; "))
        for one in members
        if not one.is_ready
    ]


async def _of_cut(door: Door, namespace: str, ref: Ref, seen: Snapshot, *, is_taken_up: bool) -> Symptom:
    """What the driver last said; the controllers go on trying as long as it is there."""
    if seen.error:
        return symptom(Weight.CAUSE, str(ref), "cannot be cut" if seen.cut_at is None else "not ready", seen.error)
    if seen.cut_at is None:
        message = "" if is_taken_up else "nobody has taken it up: is the driver's csi-snapshotter running?"
        return symptom(Weight.WAITING, str(ref), "not cut yet", message)
    right = RETAINING[ref.kind]
    if seen.content and seen.policy != Volume.RETAIN and await rights.missing(door, namespace, [right]):
        return symptom(Weight.CAUSE, str(ref), "may not be kept", f"the bot has no right to {right}")
    message = f"cut {seen.cut_at:%Y-%m-%d %H:%M:%S} UTC; content {seen.content or 'of another snapshot'}, {seen.policy}"
    return symptom(Weight.WAITING, str(ref), "ready" if seen.is_ready else "not ready yet", message)


async def _content_of(door: Door, namespace: str, snapshot: Json, fields: Fields, contents: Resource) -> list[Json]:
    name = read.status_of(snapshot).get(fields.bound)
    if not name:
        return []
    try:
        return [await door.get(paths.one_of(contents, namespace, str(name)))]
    except Gone:
        return []
