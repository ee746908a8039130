"""The garbage collector: what becomes of objects whose owners are gone, or are waiting for them to go."""

from sandbox.kubernetes.controllers.owners import is_terminating, key_of, references
from sandbox.kubernetes.controllers.work import Key
from sandbox.kubernetes.resources import EVENTS, Object, Resource
from sandbox.kubernetes.store import Event, Store

ACTOR = "generic-garbage-collector"
FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Garbage:
    """Keeps an index of all objects by uid, and of who depends on whom; its keys are (None, uid)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._alive: dict[str, tuple[Resource, Key]] = {}
        self._dependents: dict[str, set[str]] = {}

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is EVENTS:
            return []
        uid = event.object["metadata"]["uid"]
        owners = {owner["uid"] for owner in references(event.object)}
        for owner in owners:
            self._dependents.setdefault(owner, set()).add(uid)
        if event.type == "DELETED":
            self._alive.pop(uid, None)
            found = self._dependents.pop(uid, set()) | owners
        else:
            self._alive[uid] = (event.resource, key_of(event.object))
            found = {uid, *owners} if owners or is_terminating(event.object) else set()
        return [(None, each) for each in sorted(found)]

    def reconcile(self, key: Key) -> None:
        obj = self._find(key[1])
        if obj is None:
            return
        resource = self._alive[key[1]][0]
        if is_terminating(obj):
            self._end(resource, obj)
        elif references(obj):
            self._judge(resource, obj)

    def _find(self, uid: str) -> Object | None:
        if uid not in self._alive:
            return None
        resource, key = self._alive[uid]
        found = self._store.find(resource, *key)
        return found if found is not None and found["metadata"]["uid"] == uid else None

    def _judge(self, resource: Resource, obj: Object) -> None:
        """Without any owner left an object goes; with some left it forgets the others."""
        owners = references(obj)
        left = [owner for owner in owners if owner["uid"] in self._alive]
        if not left:
            self._delete(resource, obj, "Background")
        elif len(left) < len(owners):
            self._set_owners(resource, obj, left)

    def _end(self, resource: Resource, obj: Object) -> None:
        finalizers = obj["metadata"].get("finalizers") or []
        uid = obj["metadata"]["uid"]
        dependents = [(self._alive[each][0], found) for each in self._dependents_of(uid) if (found := self._find(each))]
        if ORPHAN in finalizers:
            for kind, each in dependents:
                self._set_owners(kind, each, [owner for owner in references(each) if owner["uid"] != uid])
            self._drop(resource, obj, ORPHAN)
        elif FOREGROUND in finalizers:
            for kind, each in dependents:
                if not is_terminating(each):
                    self._delete(kind, each, "Foreground")
            if not any(_blocks(found, uid) for each in self._dependents_of(uid) if (found := self._find(each))):
                self._drop(resource, obj, FOREGROUND)

    def _dependents_of(self, uid: str) -> list[str]:
        """Those that still name it as an owner."""
        candidates = sorted(self._dependents.get(uid, set()))
        found = {each: self._find(each) for each in candidates}
        return [each for each, obj in found.items() if obj and any(owner["uid"] == uid for owner in references(obj))]

    def _delete(self, resource: Resource, obj: Object, propagation: str) -> None:
        metadata = obj["metadata"]
        namespace, name = key_of(obj)
        self._store.delete(resource, namespace, name, uid=metadata["uid"], propagation=propagation, actor=ACTOR)

    def _set_owners(self, resource: Resource, obj: Object, owners: list[Object]) -> None:
        def own(found: Object) -> None:
            found["metadata"]["ownerReferences"] = owners

        self._store.change(resource, *key_of(obj), own, actor=ACTOR)

    def _drop(self, resource: Resource, obj: Object, finalizer: str) -> None:
        def release(found: Object) -> None:
            found["metadata"]["finalizers"].remove(finalizer)

        self._store.change(resource, *key_of(obj), release, actor=ACTOR)


def _blocks(dependent: Object, owner: str) -> bool:
    return any(found["uid"] == owner and found.get("blockOwnerDeletion") for found in references(dependent))
