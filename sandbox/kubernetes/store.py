"""The cluster's state: every object in memory, under one revision counter, with the events that changed it."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

from sandbox.kubernetes import status
from sandbox.kubernetes.admission import admit_change, admit_new
from sandbox.kubernetes.clock import Clock, parsed, timestamp
from sandbox.kubernetes.defaults import set_defaults, set_first_state
from sandbox.kubernetes.names import generated_name
from sandbox.kubernetes.resources import NAMESPACES, PODS, RESOURCES, Object, Resource
from sandbox.kubernetes.status import ApiError
from sandbox.kubernetes.validation import check_change, check_new

__all__ = ["ApiError", "Clock", "Event", "EventType", "Object", "Store", "Subscription"]

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
Key = tuple[str, str]
T = TypeVar("T")

# the server's own: a writer's value for them counts for nothing
_SYSTEM = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp",
           "deletionGracePeriodSeconds", "generation", "generateName")  # fmt: skip
_NOT_KEPT = ("managedFields", "selfLink")
_PROPAGATION = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


def copied(value: T) -> T:
    """A deep copy of plain JSON; several times faster than `copy.deepcopy`."""
    return _copied(value)  # type: ignore[no-any-return]


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Event:
    """One change. A DELETED event bears the last state under the revision of the deletion."""

    type: EventType
    resource: Resource
    object: Object
    revision: int
    previous: Object | None = None
    actor: str = "system"


Feed = asyncio.Queue[Event | None]
# the class below has a method `list`
Objects = list[Object]
Events = list[Event]


class Subscription:
    """An async iterator over events; never drops one."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event:
        event = await self._feed.get()
        if event is None:
            raise StopAsyncIteration
        return replace(event, object=copied(event.object), previous=copied(event.previous))


class Store:
    """Synchronous, for one event loop. What it returns is the caller's own copy.

    `create` keeps a status that is given (the wire drops it before); `update` and `change` write the status only
    with `subresource="status"`, and then nothing else, where the resource has that subresource.
    With `dry_run` everything is checked and the outcome returned, and nothing changes.
    """

    def __init__(self, clock: Clock, *, window: int = 10_000) -> None:
        """`window`: how many events stay known for watches that continue from a resourceVersion."""
        self.clock = clock
        self.revision = 1
        self._objects: dict[Resource, dict[Key, Object]] = {resource: {} for resource in RESOURCES}
        self._history: deque[Event] = deque()
        self._window = window
        self._forgotten = 0
        self._feeds: set[Feed] = set()
        for name in ("default", "kube-system"):
            self.create(NAMESPACES, {"metadata": {"name": name}})

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """Raises ApiError (404)."""
        return copied(self._existing(resource, namespace, name))

    def find(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        return copied(self._objects[resource].get(_key(resource, namespace, name)))

    def list(
        self, resource: Resource, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Objects:
        """All of a namespace, or of all namespaces, that bear all the labels; sorted by namespace and name."""
        return [copied(row) for row in self.rows(resource, namespace) if _bears(row, labels or {})]

    def rows(self, resource: Resource, namespace: str | None = None) -> Objects:
        """Like `list`, without copying: for reading only."""
        objects = self._objects[resource]
        return [objects[key] for key in sorted(objects) if not namespace or key[0] == namespace]

    def create(self, resource: Resource, obj: Object, *, actor: str = "system", dry_run: bool = False) -> Object:
        """Raises ApiError: 403 terminating namespace, 404 no such namespace, 409 already exists, 422 invalid."""
        new = self._newborn(resource, obj)
        admit_new(self, resource, new)
        set_defaults(resource, new)
        set_first_state(resource, new)
        check_new(resource, new)
        key = _key_of(resource, new)
        if key in self._objects[resource]:
            raise status.already_exists(resource, key[1])
        if not dry_run:
            self._commit("ADDED", resource, None, new, actor)
        return copied(new)

    def update(
        self, resource: Resource, obj: Object, *, subresource: str = "", actor: str = "system", dry_run: bool = False
    ) -> Object:
        """Replaces the object; a resourceVersion or uid in it must be the current one. Raises ApiError: 404, 409, 422.

        Emptying the finalizers of an object that is being deleted removes it. Writing what is there changes nothing.
        """
        metadata = obj["metadata"]
        old = self._existing(resource, metadata.get("namespace"), str(metadata.get("name")))
        _check_identity(resource, old, obj)
        new = _merged(resource, old, obj, subresource)
        if not subresource:
            set_defaults(resource, new)
            admit_change(self, resource, old, new)
            check_change(resource, old, new)
            _count_generation(resource, old, new)
        return self._saved(resource, old, new, actor, dry_run)

    def change(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        mutate: Callable[[Object], None],
        *,
        subresource: str = "",
        actor: str = "system",
    ) -> Object:
        """Reads, lets `mutate` change the copy in place, and writes, in one go. Raises as `update` does."""
        obj = self.get(resource, namespace, name)
        mutate(obj)
        return self.update(resource, obj, subresource=subresource, actor=actor)

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        grace_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str | None = None,
        actor: str = "system",
        dry_run: bool = False,
    ) -> Object:
        """Asks for an object's end and returns its state: gone, or with a deletionTimestamp while something holds it.

        A scheduled pod is held by its grace period, others by finalizers. `propagation`: Background, Foreground or
        Orphan. Raises ApiError: 404, 409 for a precondition that does not hold.
        """
        old = self._existing(resource, namespace, name)
        _check_preconditions(resource, old, uid, resource_version)
        new = self._marked(resource, old, grace_seconds, propagation)
        if _is_finished(resource, new):
            gone = copied(new if resource is PODS else old)  # a pod's last state says that its grace period is over
            if not dry_run:
                self._commit("DELETED", resource, old, gone, actor)
            return copied(gone)
        return self._saved(resource, old, new, actor, dry_run)

    def remove(self, resource: Resource, namespace: str | None, name: str) -> None:
        """Ends an object at once, whatever its finalizers; one that is not there is no error.

        Only a pod with finalizers stays: its grace period is over, and it goes with the last finalizer.
        """
        old = self._objects[resource].get(_key(resource, namespace, name))
        if old is None:
            return
        if resource is PODS and old["metadata"].get("finalizers"):
            self._saved(resource, old, self._marked(resource, old, 0, None), "system", dry_run=False)
        else:
            self._commit("DELETED", resource, old, copied(old), "system")

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """Every event from here on, with copies of the objects."""
        with self.feed() as feed:
            yield Subscription(feed)

    @contextmanager
    def feed(self) -> Iterator[Feed]:
        """Every event from here on, without copying: for reading only. A None in it ends whoever reads."""
        feed: Feed = asyncio.Queue()
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.discard(feed)

    def events_since(self, revision: int) -> Events:
        """What happened after a revision, oldest first, not copied. Raises ApiError (410) when that is forgotten."""
        if revision < self._forgotten:
            raise status.expired(revision, self._forgotten)
        newer: deque[Event] = deque()
        for event in reversed(self._history):
            if event.revision <= revision:
                break
            newer.appendleft(event)
        return [*newer]

    def forget_history(self) -> None:
        """As a compaction does: a watch can continue only from now on."""
        self._history.clear()
        self._forgotten = self.revision

    def _existing(self, resource: Resource, namespace: str | None, name: str) -> Object:
        found = self._objects[resource].get(_key(resource, namespace, name))
        if found is None:
            raise status.not_found(resource, name)
        return found

    def _newborn(self, resource: Resource, obj: Object) -> Object:
        new: Object = {"kind": resource.kind, "apiVersion": resource.api_version} | copied(obj)
        metadata = new["metadata"] = _tidy(dict(new.get("metadata") or {}))
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"):
            metadata.pop(key, None)
        if not resource.namespaced:
            metadata.pop("namespace", None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = generated_name(str(metadata["generateName"]))
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp(self.clock.now())
        if resource.has_generation:
            metadata["generation"] = 1
        return new

    def _marked(self, resource: Resource, old: Object, grace_seconds: int | None, propagation: str | None) -> Object:
        """The object as a delete leaves it, before it is known whether anything still holds it."""
        new = copied(old)
        if resource is NAMESPACES:
            new.setdefault("status", {})["phase"] = "Terminating"
            new["metadata"].setdefault("deletionTimestamp", timestamp(self.clock.now()))
            return new
        _set_propagation(new["metadata"], propagation)
        grace = _grace(old, grace_seconds) if resource is PODS else 0
        self._set_deadline(new["metadata"], grace)
        return new

    def _set_deadline(self, metadata: Object, grace: int) -> None:
        """A second delete can only shorten the grace period."""
        before = metadata.get("deletionGracePeriodSeconds")
        if before is not None and grace >= before:
            return
        start = self.clock.now()
        if before is not None:
            start = parsed(metadata["deletionTimestamp"]) - timedelta(seconds=before)
        elif metadata.get("generation"):
            metadata["generation"] += 1
        metadata["deletionTimestamp"] = timestamp(start + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace

    def _saved(self, resource: Resource, old: Object, new: Object, actor: str, dry_run: bool) -> Object:
        if new == old:
            return copied(old)
        if not dry_run:
            self._commit("DELETED" if _is_finished(resource, new) else "MODIFIED", resource, old, new, actor)
        return copied(new)

    def _commit(self, type_: EventType, resource: Resource, old: Object | None, new: Object, actor: str) -> None:
        self.revision += 1
        new["metadata"]["resourceVersion"] = str(self.revision)
        if type_ == "DELETED":
            del self._objects[resource][_key_of(resource, new)]
        else:
            self._objects[resource][_key_of(resource, new)] = new
        self._tell(Event(type_, resource, new, self.revision, old, actor))

    def _tell(self, event: Event) -> None:
        self._history.append(event)
        if len(self._history) > self._window:
            self._forgotten = self._history.popleft().revision
        for feed in self._feeds:
            feed.put_nowait(event)


def _key(resource: Resource, namespace: str | None, name: str) -> Key:
    return (namespace or "" if resource.namespaced else "", name)


def _key_of(resource: Resource, obj: Object) -> Key:
    return _key(resource, obj["metadata"].get("namespace"), obj["metadata"]["name"])


def _bears(obj: Object, labels: Mapping[str, str]) -> bool:
    own = obj["metadata"].get("labels") or {}
    return all(own.get(key) == value for key, value in labels.items())


def _tidy(metadata: Object) -> Object:
    """Empty maps and lists are the same as none, and are not shown."""
    return {key: value for key, value in metadata.items() if value not in ({}, [], None) and key not in _NOT_KEPT}


def _check_identity(resource: Resource, old: Object, given: Object) -> None:
    name, known, claimed = old["metadata"]["name"], old["metadata"], given["metadata"]
    if claimed.get("uid") and claimed["uid"] != known["uid"]:
        raise status.conflict(resource, name, _uid_differs(resource, known, claimed["uid"]))
    version = claimed.get("resourceVersion")
    if version and str(version) != known["resourceVersion"]:
        raise status.stale(resource, name)
    if not version and resource.needs_resource_version:
        raise status.version_missing(resource, name)


def _uid_differs(resource: Resource, known: Object, claimed: str) -> str:
    key = "/".join(filter(None, ["/registry", resource.plural, known.get("namespace"), known["name"]]))
    return (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition "
        f"failed: UID in precondition: {claimed}, UID in object meta: {known['uid']}"
    )


def _check_preconditions(resource: Resource, old: Object, uid: str | None, resource_version: str | None) -> None:
    metadata = old["metadata"]
    if uid is not None and uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise status.precondition_failed(resource, metadata["name"], why)
    if resource_version is not None and resource_version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({resource_version}) does not match the ResourceVersion in "
            f"record ({metadata['resourceVersion']}). The object might have been modified"
        )
        raise status.precondition_failed(resource, metadata["name"], why)


def _merged(resource: Resource, old: Object, given: Object, subresource: str) -> Object:
    """What a write through this subresource may set, on top of what it may not."""
    if subresource == "status" and resource.has_status:
        return copied({**old, "status": given.get("status") or {}})
    if subresource == "finalize":
        return copied({**old, "spec": {**old["spec"], "finalizers": (given.get("spec") or {}).get("finalizers") or []}})
    new = copied({**given, "kind": resource.kind, "apiVersion": resource.api_version})
    if resource.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = copied(old["status"])
    kept = {key: old["metadata"][key] for key in _SYSTEM if key in old["metadata"]}
    new["metadata"] = {key: value for key, value in _tidy(new["metadata"]).items() if key not in _SYSTEM} | kept
    return new


def _count_generation(resource: Resource, old: Object, new: Object) -> None:
    if resource.has_generation and _wishes(resource, old) != _wishes(resource, new):
        new["metadata"]["generation"] = old["metadata"]["generation"] + 1


def _wishes(resource: Resource, obj: Object) -> Any:
    """What a new generation is a new version of; a custom object may keep it outside of a spec."""
    if not resource.custom:
        return obj.get("spec")
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _is_finished(resource: Resource, obj: Object) -> bool:
    """Nothing holds an object that is being deleted any longer."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if resource is NAMESPACES:
        return not (obj.get("spec") or {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


def _set_propagation(metadata: Object, propagation: str | None) -> None:
    if propagation is None:
        return
    finalizers = [name for name in metadata.get("finalizers", []) if name not in _PROPAGATION.values()]
    if propagation in _PROPAGATION:
        finalizers.append(_PROPAGATION[propagation])
    metadata.pop("finalizers", None)
    if finalizers:
        metadata["finalizers"] = finalizers


def _grace(pod: Object, asked: int | None) -> int:
    """Nobody has to be stopped in a pod that was never scheduled or has ended."""
    if not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
        return 0
    grace = pod["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked
    return 1 if grace < 0 else int(grace)
