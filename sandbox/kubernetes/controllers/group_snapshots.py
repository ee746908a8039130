"""VolumeGroupSnapshots: all claims of a label cut at one moment, as the common `snapshot-controller` does it."""

from sandbox.kubernetes.controllers.csi_driver import quoted
from sandbox.kubernetes.controllers.group_members import Members
from sandbox.kubernetes.controllers.owners import is_terminating, key_of
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.retries import Again, Retries
from sandbox.kubernetes.controllers.snapshotting import (
    COMMON,
    DEFAULT_GROUP_CLASS,
    GROUP_BEING_DELETED,
    GROUP_BOUND,
    GROUP_CONTENT_BOUND,
    Editor,
    Failed,
    Trouble,
    annotations,
    error_at,
    finalizers,
    is_ready,
    is_restored,
    key_in,
    path_of,
    reference_to,
    refers_to,
    status_of,
    volume_of,
)
from sandbox.kubernetes.controllers.work import Key, Work
from sandbox.kubernetes.resources import (
    CLAIMS,
    GROUP_SNAPSHOT_CLASSES,
    GROUP_SNAPSHOT_CONTENTS,
    GROUP_SNAPSHOTS,
    SNAPSHOTS,
    Object,
)
from sandbox.kubernetes.store import Event, Store


class GroupSnapshots:
    """As with single ones, every failure is shown in `status.error` and tried again."""

    def __init__(self, store: Store, work: Work) -> None:
        self._store = store
        self._work = work
        self._retries = Retries()
        self._members = Members(store)
        self._edit = Editor(store, GROUP_SNAPSHOTS, COMMON)
        self._recorder = Recorder(store, COMMON)

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is GROUP_SNAPSHOTS and event.type != "DELETED":
            return [key_of(event.object)]
        return self._of_content(event) if event.resource is GROUP_SNAPSHOT_CONTENTS else []

    def reconcile(self, key: Key) -> None:
        group = self._store.find(GROUP_SNAPSHOTS, *key)
        if group is None:
            self._retries.forget(key)
            return
        try:
            self._sync(self._with_class(group))
        except Again as again:
            if isinstance(again, Failed):
                self._fail(key, again)
            self._work.again(self, key, self._retries.after(key))
        else:
            self._retries.forget(key)

    def _of_content(self, event: Event) -> list[Key]:
        """Whose content has something to tell, or is gone."""
        reference = event.object["spec"]["volumeGroupSnapshotRef"]
        group = self._store.find(GROUP_SNAPSHOTS, *key_in(reference))
        is_its = group is not None and refers_to(reference, group) and event.object.get("status")
        return [key_in(reference)] if is_its or event.type == "DELETED" else []

    def _fail(self, key: Key, failed: Failed) -> None:
        group = self._store.get(GROUP_SNAPSHOTS, *key)
        status, message = status_of(group), str(failed)
        if (status.get("error") or {}).get("message") == message:
            return
        unready = {"readyToUse": False} if failed.is_unready else {}
        self._edit.write_status(group, {**status, **unready, "error": error_at(self._edit.now(), message)})
        self._recorder.warning(GROUP_SNAPSHOTS, group, failed.reason, message)

    def _with_class(self, group: Object) -> Object:
        """With the class that it asks for, or else the only default one of its volumes' driver. Raises Failed."""
        name = group["spec"].get("volumeGroupSnapshotClassName")
        if name is None:
            return self._with_default_class(group)
        if self._store.find(GROUP_SNAPSHOT_CLASSES, None, name) is None and not is_terminating(group):
            why = f'{GROUP_SNAPSHOT_CLASSES.singular}.{GROUP_SNAPSHOT_CLASSES.group} "{name}" not found'
            message = f"failed to get group snapshot class with error {why}"
            raise Failed("GetGroupSnapshotClassFailed", message, is_unready=False)
        return group

    def _with_default_class(self, group: Object) -> Object:
        if group["spec"]["source"].get("volumeGroupSnapshotContentName"):
            return group
        try:
            name = self._default_class(group)
        except Trouble as trouble:
            message = f"Failed to set default group snapshot class with error {trouble}"
            raise Failed("SetDefaultGroupSnapshotClassFailed", message, is_unready=False) from trouble

        def give(found: Object) -> None:
            found["spec"]["volumeGroupSnapshotClassName"] = name

        return self._edit.change(group, give)

    def _default_class(self, group: Object) -> str:
        csi = self._volumes(group)[0]["spec"].get("csi")
        if csi is None:
            raise Trouble(f"snapshotting non-CSI volumes is not supported, group snapshot:{path_of(group)}")
        rows = self._store.rows(GROUP_SNAPSHOT_CLASSES)
        default = [row for row in rows if annotations(row).get(DEFAULT_GROUP_CLASS) == "true"]
        found = [row for row in default if row["driver"] == csi["driver"]]
        if not found:
            raise Trouble("cannot find default group snapshot class")
        if len(found) > 1:
            raise Trouble(f"{len(found)} default snapshot classes were found")
        return str(found[0]["metadata"]["name"])

    def _volumes(self, group: Object) -> list[Object]:
        """Of all claims that bear the labels; expressions are not looked at. Raises Trouble."""
        labels = group["spec"]["source"]["selector"].get("matchLabels") or {}
        claims = self._store.list(CLAIMS, group["metadata"]["namespace"], labels)
        if not claims:
            shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
            raise Trouble(f"label selector {shown} for group snapshot not applied to any PVC")
        return [volume_of(self._store, claim, "group snapshot") for claim in claims]

    def _sync(self, group: Object) -> None:
        if is_terminating(group):
            self._end(group)
            return
        content = self._content(group)
        bound_to = status_of(group).get("boundVolumeGroupSnapshotContentName")
        if content is not None and bound_to and GROUP_BOUND not in finalizers(group):
            group = self._edit.add_finalizer(group, GROUP_BOUND)
        if is_ready(group) and bound_to:
            self._check(group, bound_to)
        else:
            self._show(group, self._bound(group, content))

    def _content(self, group: Object) -> Object | None:
        """The content that is its own, already or on request. Raises Failed where it is another one's."""
        asked = group["spec"]["source"].get("volumeGroupSnapshotContentName")
        name = asked or f"groupsnapcontent-{group['metadata']['uid']}"
        content = self._store.find(GROUP_SNAPSHOT_CONTENTS, None, name)
        if content is None:
            return None
        if asked and "groupSnapshotHandles" not in content["spec"]["source"]:
            message = "VolumeGroupSnapshotContent is dynamically provisioned while expecting a pre-provisioned one"
            raise Failed("GroupSnapshotContentMismatch", message)
        reference = content["spec"]["volumeGroupSnapshotRef"]
        is_open = bool(asked) and not reference.get("uid") and key_in(reference) == key_of(group)
        if not is_open and not refers_to(reference, group):
            message = f"VolumeGroupSnapshotContent [{name}] is bound to a different group snapshot"
            raise Failed("GroupSnapshotContentMisbound", message)
        return content

    def _check(self, group: Object, bound_to: str) -> None:
        content = self._store.find(GROUP_SNAPSHOT_CONTENTS, None, bound_to)
        if content is None:
            raise Failed("GroupSnapshotContentMissing", "VolumeGroupSnapshotContent is missing")
        if not refers_to(content["spec"]["volumeGroupSnapshotRef"], group):
            message = "VolumeGroupSnapshotContent is not bound to the VolumeGroupSnapshot correctly"
            raise Failed("GroupSnapshotMisbound", message)

    def _bound(self, group: Object, content: Object | None) -> Object:
        """Its content, that refers to it, with its members where they are known. Raises Failed."""
        if group["spec"]["source"].get("volumeGroupSnapshotContentName"):
            if content is None:
                raise Failed("GroupSnapshotContentMissing", "VolumeGroupSnapshotContent is missing")
            return self._claimed(group, content)
        if content is None:
            return self._created(group)
        self._members.make(group, content)
        return content

    def _claimed(self, group: Object, content: Object) -> Object:
        def claim(found: Object) -> None:
            found["spec"]["volumeGroupSnapshotRef"]["uid"] = group["metadata"]["uid"]
            if name := group["spec"].get("volumeGroupSnapshotClassName"):
                found["spec"]["volumeGroupSnapshotClassName"] = name

        return Editor(self._store, GROUP_SNAPSHOT_CONTENTS, COMMON).change(content, claim)

    def _created(self, group: Object) -> Object:
        try:
            spec = self._wishes(group)
        except Trouble as trouble:
            message = f"failed to create group snapshot content with error {trouble}"
            raise Failed("GroupSnapshotContentCreationFailed", message) from trouble
        made = {"metadata": {"name": f"groupsnapcontent-{group['metadata']['uid']}"}, "spec": spec}
        content = self._store.create(GROUP_SNAPSHOT_CONTENTS, made, actor=COMMON)
        message = f"Waiting for a group snapshot {path_of(group)} to be created by the CSI driver."
        self._recorder.normal(GROUP_SNAPSHOTS, group, "CreatingGroupSnapshot", message)
        return content

    def _wishes(self, group: Object) -> Object:
        """A new content's spec. Raises Trouble."""
        name = group["spec"]["volumeGroupSnapshotClassName"]
        chosen = self._store.get(GROUP_SNAPSHOT_CLASSES, None, name)
        try:
            volumes = self._volumes(group)
        except Trouble as trouble:
            prefix = f"failed to get input parameters to create group snapshot {group['metadata']['name']}"
            raise Trouble(f"{prefix}: {quoted(trouble)}") from trouble
        return {
            "volumeGroupSnapshotRef": reference_to(GROUP_SNAPSHOTS, group),
            "source": {"volumeHandles": [self._handle(group, chosen, volume) for volume in volumes]},
            "volumeGroupSnapshotClassName": name,
            "deletionPolicy": chosen["deletionPolicy"],
            "driver": chosen["driver"],
        }

    def _handle(self, group: Object, chosen: Object, volume: Object) -> str:
        csi, name, path = volume["spec"].get("csi"), volume["metadata"]["name"], path_of(group)
        if csi is None:
            raise Trouble(f"cannot snapshot a non-CSI volume for group snapshot {path}: {name}")
        if csi["driver"] != chosen["driver"]:
            raise Trouble(
                f"snapshot controller failed to update {path} on API server: Volume CSI driver ({csi['driver']}) "
                f"mismatch with VolumeGroupSnapshotClass ({chosen['driver']}) {path}: {name}"
            )
        return str(csi["volumeHandle"])

    def _show(self, group: Object, content: Object) -> None:
        """The content's status is the group's."""
        group = self._store.get(GROUP_SNAPSHOTS, *key_of(group))
        before, told, path = status_of(group), status_of(content), path_of(group)
        status = {**before, "readyToUse": is_ready(content)}
        status.setdefault("boundVolumeGroupSnapshotContentName", content["metadata"]["name"])
        if "creationTime" in told:
            status.setdefault("creationTime", told["creationTime"])
        status.pop("error", None)
        if told.get("error"):
            status["error"] = dict(told["error"])
        if "creationTime" in status and "creationTime" not in before:
            message = f"GroupSnapshot {path} was successfully created by the CSI driver."
            self._recorder.normal(GROUP_SNAPSHOTS, group, "GroupSnapshotCreated", message)
        if status["readyToUse"] and not is_ready(group):
            self._recorder.normal(
                GROUP_SNAPSHOTS, group, "GroupSnapshotReady", f"GroupSnapshot {path} is ready to use."
            )
        self._edit.write_status(group, status)

    def _end(self, group: Object) -> None:
        """The members go with it, its content if the policy says so. Raises Again."""
        if GROUP_BOUND not in finalizers(group):
            return
        members = self._members.of(group)
        for member in members:
            self._check_unused(group, member)
        goes_along = self._end_content(group)
        for member in members:
            self._store.delete(SNAPSHOTS, *key_of(member), actor=COMMON)
        if not goes_along:
            self._edit.drop_finalizer(group, GROUP_BOUND)

    def _check_unused(self, group: Object, member: Object) -> None:
        """Raises Again while a claim waits to be made of a member."""
        if not is_restored(self._store, member):
            return
        of_group = f"Snapshot {path_of(member)} belonging to VolumeGroupSnapshot {path_of(group)}"
        message = f"{of_group} is being used to restore a PVC"
        self._recorder.warning(GROUP_SNAPSHOTS, group, "SnapshotDeletePending", message)
        raise Again(message)

    def _end_content(self, group: Object) -> bool:
        """Tell the content in any case; whether it is being deleted, too."""
        name = status_of(group).get("boundVolumeGroupSnapshotContentName") or ""
        content = self._store.find(GROUP_SNAPSHOT_CONTENTS, None, name)
        if content is None or not refers_to(content["spec"]["volumeGroupSnapshotRef"], group):
            return False
        Editor(self._store, GROUP_SNAPSHOT_CONTENTS, COMMON).annotate(content, GROUP_BEING_DELETED)
        if content["spec"]["deletionPolicy"] != "Delete":
            return False
        self._store.delete(GROUP_SNAPSHOT_CONTENTS, None, name, actor=COMMON)
        return True


class GroupContentProtection:
    """Holds a content that belongs to a group snapshot."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._edit = Editor(store, GROUP_SNAPSHOT_CONTENTS, COMMON)

    def concerned(self, event: Event) -> list[Key]:
        is_there = event.resource is GROUP_SNAPSHOT_CONTENTS and event.type != "DELETED"
        return [key_of(event.object)] if is_there else []

    def reconcile(self, key: Key) -> None:
        content = self._store.find(GROUP_SNAPSHOT_CONTENTS, *key)
        if content is None or is_terminating(content) or not content["spec"]["volumeGroupSnapshotRef"].get("uid"):
            return
        if GROUP_CONTENT_BOUND not in finalizers(content):
            self._edit.add_finalizer(content, GROUP_CONTENT_BOUND)
