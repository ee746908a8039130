"""Storage faults: what annotations make go wrong with snapshots and volumes, until they are taken away again.

`sandbox.tml-bot/fault` on a PersistentVolumeClaim, words separated by commas:

snapshot-fails: the driver refuses to cut one; with `sandbox.tml-bot/fault-times` only so often for each snapshot.
snapshot-hangs: the driver does not answer. Each attempt ends after a minute, and its content cannot be deleted.
snapshot-slow: cut at once, ready only after ten minutes.
snapshot-never-ready: cut, and never ready.
snapshot-empty: cut and ready, but it holds nothing of the volume.
provisioning-fails: the driver refuses to make the claim's volume, from a snapshot or without one.

On a VolumeSnapshotContent or VolumeGroupSnapshotContent:

deletion-fails: the driver refuses to delete what it stands for.

`sandbox.tml-bot/fault-text` beside it is what the driver says. What waits is tried again at once when a claim's or a
content's annotations change.
"""

import math
from enum import StrEnum

from sandbox.kubernetes.controllers.object_faults import FAULT_ANNOTATION
from sandbox.kubernetes.resources import Object

FAULT_TIMES = "sandbox.tml-bot/fault-times"
FAULT_TEXT = "sandbox.tml-bot/fault-text"
_TEXT = "the storage refuses, as it was told to"


class StorageFault(StrEnum):
    SNAPSHOT_FAILS = "snapshot-fails"
    SNAPSHOT_HANGS = "snapshot-hangs"
    SNAPSHOT_SLOW = "snapshot-slow"
    SNAPSHOT_NEVER_READY = "snapshot-never-ready"
    SNAPSHOT_EMPTY = "snapshot-empty"
    PROVISIONING_FAILS = "provisioning-fails"
    DELETION_FAILS = "deletion-fails"


def declared(obj: Object | None) -> frozenset[StorageFault]:
    """The storage faults that an object names; none of what is not there."""
    words = {word.strip() for word in _annotation(obj, FAULT_ANNOTATION).split(",")}
    return frozenset(fault for fault in StorageFault if fault in words)


def times(obj: Object | None) -> float:
    """How often it is to go wrong."""
    given = _annotation(obj, FAULT_TIMES)
    return int(given) if given.isdigit() else math.inf


def text(obj: Object | None) -> str:
    """What the driver is to say."""
    return _annotation(obj, FAULT_TEXT) or _TEXT


def differ(new: Object, old: Object | None) -> bool:
    """Whether something else goes wrong now."""
    keys = (FAULT_ANNOTATION, FAULT_TIMES, FAULT_TEXT)
    return any(_annotation(new, key) != _annotation(old, key) for key in keys)


def _annotation(obj: Object | None, key: str) -> str:
    return str(((obj or {}).get("metadata", {}).get("annotations") or {}).get(key) or "")
