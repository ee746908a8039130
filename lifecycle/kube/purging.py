"""What a purge looks at and writes: each write reads its object, and whatever could still need it, right before.

Each is a JSON Patch of, or a delete at, the version that was just read, so that nothing that changed since goes.
"""

from collections.abc import Iterable

from lifecycle.errors import Conflict, Gone, Invalid
from lifecycle.kube import paths, read, volumes
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.patch import ANNOTATIONS, Patch, as_read, entry, removal, setting, test
from lifecycle.kube.paths import OF_KIND, Resource
from lifecycle.kube.pieces import Shelf
from lifecycle.kube.read import KEPT_BY, POLICY_BEFORE
from lifecycle.kube.snapshots import POLICY as DELETION_POLICY
from lifecycle.kube.snapshots import SINGLE, TOGETHER
from lifecycle.model import Kind, Ref, Step
from lifecycle.observed import Part
from lifecycle.retention import Doomed, Purging
from lifecycle.snapshots import Clone
from lifecycle.volumes import Claim, Content, GroupContent, Volume

DELETE = "Delete"


FIELDS = {Kind.SNAPSHOT: SINGLE, Kind.GROUP: TOGETHER}
MADE_AS: dict[Kind, type[Content]] = {Kind.SNAPSHOT: Content, Kind.GROUP: GroupContent}


def content(found: Json, namespace: str, kind: Kind = Kind.SNAPSHOT) -> Content:
    """``snapshot`` and ``snapshot_uid`` are empty where it is of another namespace; ``kind`` is the snapshot's."""
    spec, fields = read.spec_of(found), FIELDS[kind]
    named = spec.get(fields.named) or {}
    is_ours = named.get("namespace") == namespace
    return MADE_AS[kind](
        name=read.name_of(found),
        uid=read.uid_of(found),
        policy=str(spec.get("deletionPolicy", "")),
        snapshot=str(named.get("name", "")) if is_ours else "",
        snapshot_uid=str(named.get("uid") or "") if is_ours else "",
        handle=_handle(found, kind),
        driver=str(spec.get("driver", "")),
        deleting=read.is_deleting(found),
    )


def _handle(found: Json, kind: Kind) -> str:
    """What the storage knows it by; of one that was made for data that were there, from the beginning."""
    source, fields = read.spec_of(found).get("source") or {}, FIELDS[kind]
    written = source.get("groupSnapshotHandles") or source
    return str(read.status_of(found).get(fields.handle) or written.get(fields.handle) or "")


def contents(
    purging: Purging, namespace: str, found: Iterable[Json], kind: Kind, there: Iterable[str]
) -> tuple[Content, ...]:
    """Those that the purge names, or that name one of its snapshots or one of those that are ``there``."""
    names = {one.content for one in purging.doomed if one.content and one.kind is kind}
    snapshots = {*there, *(one.snapshot for one in purging.doomed if one.kind is kind)}
    seen = (content(one, namespace, kind) for one in found)
    return tuple(sorted((one for one in seen if one.name in names or one.snapshot in snapshots), key=_name))


def of_clones(clones: Iterable[Clone], namespace: str, found: Iterable[Json]) -> tuple[Content, ...]:
    """Those of the data that claims are made of."""
    handles = {one.handle for one in clones}
    seen = (content(one, namespace) for one in found) if handles else ()
    return tuple(sorted((one for one in seen if one.handle in handles), key=_name))


def _name(one: Content) -> str:
    return one.name


def claims(wanted: Iterable[Volume], found: Iterable[Json]) -> tuple[Claim, ...]:
    """Every claim that has the name of one of the volumes' claims, or names one of the volumes."""
    names = {one.claim for one in wanted}
    behind = {one.name for one in wanted}
    seen = map(read.claim, found)
    return tuple(one for one in seen if one.name in names or one.volume in behind)


def pieces_of(purging: Purging, shelf: Shelf, secrets: Iterable[Json]) -> list[Part]:
    """The Secrets of the captures on one shelf; ``made_by`` is the operation that took it."""
    where = shelf.namespace if shelf.marks else ""
    return [
        Part(Ref(Kind.SECRET, read.name_of(one)), read.uid_of(one), operation, namespace=where)
        for one in secrets
        for operation in purging.captures
        if shelf.is_of(one, operation)
    ]


def doomed(purging: Purging | None, ref: Ref) -> Doomed:
    """Raises Invalid for what no purge of this goal is about."""
    for one in purging.doomed if purging else ():
        if ref in one.refs:
            return one
    raise Invalid(f"{ref} is none of the snapshots of this purge")


def members_of(purging: Purging | None, one: Doomed) -> tuple[Doomed, ...]:
    """Those that go with this group; none of a snapshot that is no group."""
    of_group = purging.doomed if purging and one.kind is Kind.GROUP else ()
    return tuple(each for each in of_group if each.group == one.snapshot)


async def snapshot_of(door: Door, namespace: str, one: Doomed) -> Json | None:
    """The snapshot with this uid and the bot's own mark, or its group's; None where there is none of that name.

    Raises Conflict for another one: nothing that it could need is touched.
    """
    try:
        found = await door.get(paths.of(one.snapshot_ref, namespace))
    except Gone:
        return None
    if read.uid_of(found) != one.snapshot_uid or not _bears_mark(one, found):
        raise Conflict(f"{one.snapshot_ref} is another one now, or not of {one.set}")
    bound = read.status_of(found).get(FIELDS[one.kind].bound) or ""
    if bound and bound != one.content:
        raise Conflict(f"{one.snapshot_ref} is bound to {bound}, not to {one.content or 'nothing'}")
    return found


def _bears_mark(one: Doomed, found: Json) -> bool:
    """A member has its group for an owner, by a name that only this set's group has."""
    owners = read.metadata(found).get("ownerReferences") or []
    of_group = any((owner.get("kind"), owner.get("name")) == (Kind.GROUP, one.group) for owner in owners)
    return read.made_by(found) == one.set or bool(one.group and of_group)


async def content_of(door: Door, namespace: str, one: Doomed) -> Json | None:
    """The content with this uid, of this snapshot and of these bytes; None where it is gone. Raises Conflict."""
    if not one.content_uid:
        return None
    try:
        found = await door.get(paths.of(one.content_ref, namespace))
    except Gone:
        return None
    seen = content(found, namespace, one.kind)
    if seen.uid != one.content_uid or (seen.snapshot, seen.handle) != (one.snapshot, one.handle):
        raise Conflict(f"{one.content_ref} is another one now, or of another snapshot")
    if one.snapshot_uid and seen.snapshot_uid != one.snapshot_uid:
        raise Conflict(f"{one.content_ref} is not of {one.snapshot_ref}")
    return found


async def require_unused(door: Door, namespace: str, one: Doomed) -> None:
    """Raises Conflict where a claim is being made from the snapshot right now."""
    answer = await door.get(paths.all_of(Resource.CLAIMS, namespace))
    for claim in answer.get("items") or []:
        spec = read.spec_of(claim)
        source = spec.get("dataSourceRef") or spec.get("dataSource") or {}
        is_from_it = (source.get("kind"), source.get("name")) == (one.kind, one.snapshot)
        if is_from_it and read.status_of(claim).get("phase") != "Bound":
            raise Conflict(f"claim {read.name_of(claim)} is being restored from {one.snapshot_ref}")


async def require_only_content(door: Door, one: Doomed) -> None:
    """Raises Invalid where another content names the same bytes: they would go with this one."""
    answer = await door.get(paths.all_of(OF_KIND[one.content_ref.kind], ""))
    for found in answer.get("items") or []:
        data = _handle(found, one.kind), read.spec_of(found).get("driver")
        is_same = one.handle and data == (one.handle, one.driver)
        if is_same and read.uid_of(found) != one.content_uid:
            raise Invalid(f"{Ref(one.content_ref.kind, read.name_of(found))} is of the same bytes as {one.content}")


async def require_only_volume(door: Door, namespace: str, frozen: Volume) -> None:
    """Raises Invalid where another volume is of the same bytes: they would go with this one."""
    answer = await door.get(paths.all_of(Resource.VOLUMES, ""))
    for found in answer.get("items") or []:
        seen = volumes.volume(found, namespace)
        is_same = frozen.handle and (seen.handle, seen.driver) == (frozen.handle, frozen.driver)
        if is_same and seen.uid != frozen.uid:
            raise Invalid(f"{seen.ref} is of the same bytes as {frozen.ref}")


def is_stray(purging: Purging | None, ref: Ref) -> bool:
    """Whether it is a content that its snapshot left behind, of data that another one stands for by now."""
    return any(ref == stray.ref for one in (purging.doomed if purging else ()) for stray in one.strays)


def require_harmless(found: Json) -> None:
    """Raises Conflict where the bytes would go with it."""
    if read.spec_of(found).get("deletionPolicy") != Volume.RETAIN:
        raise Conflict(f"volumesnapshotcontent/{read.name_of(found)} would take its bytes along")


def release(step: Step, found: Json) -> Patch:
    """An empty patch where its bytes go with it already."""
    if read.uid_of(found) != step.uid:
        raise Gone(f"{step.ref} was replaced by another object of the same name")
    if read.spec_of(found).get("deletionPolicy") == DELETE:
        return []
    return [*as_read(found, step.uid), setting(DELETION_POLICY, DELETE)]


def require_released(found: Json | None, one: Doomed) -> None:
    """Raises Conflict where the bytes would stay in the storage with nothing left that names them."""
    if found is not None and read.spec_of(found).get("deletionPolicy") != DELETE:
        raise Conflict(f"{one.content_ref} keeps its bytes still")


def give_up(step: Step, found: Json, namespace: str, frozen: Volume) -> Patch:
    """The reclaim policy of before, and no note left; an empty patch where that is so.

    Raises Conflict where it is not Released, or another's: it is somebody's again.
    """
    notes, named = read.annotations_of(found), read.spec_of(found).get("claimRef") or {}
    seen = volumes.volume(found, namespace)
    if not seen.kept_by and seen.policy == frozen.policy_before:
        return []
    if (seen.kept_by, seen.policy_before) != (frozen.kept_by, frozen.policy_before):
        raise Conflict(f"{step.ref} is not kept by {frozen.kept_by} any more")
    if seen.phase != "Released" or (seen.claim, seen.claim_uid) != (frozen.claim, frozen.claim_uid):
        raise Conflict(f"{step.ref} is {seen.phase}, for {named.get('name', 'no claim')}: it is not given up")
    if seen.handle != frozen.handle:
        raise Conflict(f"{step.ref} is of other bytes than it was")
    return [
        *as_read(found, step.uid),
        test("/spec/claimRef/uid", frozen.claim_uid),
        test(entry(ANNOTATIONS, KEPT_BY), frozen.kept_by),
        setting(volumes.POLICY, frozen.policy_before),
        *(removal(entry(ANNOTATIONS, key)) for key in (KEPT_BY, POLICY_BEFORE) if key in notes),
    ]


async def require_no_claim(door: Door, namespace: str, volume: Volume) -> None:
    """Raises Conflict where a claim of the name is there again and names no other volume."""
    try:
        found = read.claim(await door.get(paths.of(Claim.ref_of(volume.claim), namespace)))
    except Gone:
        return
    if found.volume not in ("", volume.name):
        return
    raise Conflict(f"a claim {volume.claim} is there again, so {volume.name} is not given up")


def named_of(purging: Purging | None) -> frozenset[str]:
    """The VolumeSnapshots that a purge looks at, as far as their names are known."""
    if purging is None:
        return frozenset()
    doomed = (one.snapshot for one in purging.doomed if one.kind is Kind.SNAPSHOT)
    return frozenset((*doomed, *(one.name for one in purging.guard)))


def groups_of(purging: Purging | None) -> frozenset[str]:
    """The VolumeGroupSnapshots that it looks at."""
    if purging is None:
        return frozenset()
    doomed = (one.snapshot for one in purging.doomed if one.kind is Kind.GROUP)
    return frozenset((*doomed, *([purging.guard_group.name] if purging.guard_group else [])))
