"""The columns that the snapshot APIs' CustomResourceDefinitions add between a name and an age, by the field shown."""

from sandbox.kubernetes.resources import (
    GROUP_SNAPSHOT_CLASSES,
    GROUP_SNAPSHOT_CONTENTS,
    GROUP_SNAPSHOTS,
    SNAPSHOT_CLASSES,
    SNAPSHOT_CONTENTS,
    SNAPSHOTS,
    Resource,
)

DATES = ("CreationTime",)
"""Those of them that are shown as the time since."""

PRINTED: dict[Resource, tuple[tuple[str, str], ...]] = {
    SNAPSHOTS: (
        ("ReadyToUse", "status.readyToUse"),
        ("SourcePVC", "spec.source.persistentVolumeClaimName"),
        ("SourceSnapshotContent", "spec.source.volumeSnapshotContentName"),
        ("RestoreSize", "status.restoreSize"),
        ("SnapshotClass", "spec.volumeSnapshotClassName"),
        ("SnapshotContent", "status.boundVolumeSnapshotContentName"),
        ("CreationTime", "status.creationTime"),
    ),
    SNAPSHOT_CONTENTS: (
        ("ReadyToUse", "status.readyToUse"),
        ("RestoreSize", "status.restoreSize"),
        ("DeletionPolicy", "spec.deletionPolicy"),
        ("Driver", "spec.driver"),
        ("VolumeSnapshotClass", "spec.volumeSnapshotClassName"),
        ("VolumeSnapshot", "spec.volumeSnapshotRef.name"),
        ("VolumeSnapshotNamespace", "spec.volumeSnapshotRef.namespace"),
    ),
    SNAPSHOT_CLASSES: (("Driver", "driver"), ("DeletionPolicy", "deletionPolicy")),
    GROUP_SNAPSHOTS: (
        ("ReadyToUse", "status.readyToUse"),
        ("VolumeGroupSnapshotClass", "spec.volumeGroupSnapshotClassName"),
        ("VolumeGroupSnapshotContent", "status.boundVolumeGroupSnapshotContentName"),
        ("CreationTime", "status.creationTime"),
    ),
    GROUP_SNAPSHOT_CONTENTS: (
        ("ReadyToUse", "status.readyToUse"),
        ("DeletionPolicy", "spec.deletionPolicy"),
        ("Driver", "spec.driver"),
        ("VolumeGroupSnapshotClass", "spec.volumeGroupSnapshotClassName"),
        ("VolumeGroupSnapshotNamespace", "spec.volumeGroupSnapshotRef.namespace"),
        ("VolumeGroupSnapshot", "spec.volumeGroupSnapshotRef.name"),
    ),
    GROUP_SNAPSHOT_CLASSES: (("Driver", "driver"), ("DeletionPolicy", "deletionPolicy")),
}
