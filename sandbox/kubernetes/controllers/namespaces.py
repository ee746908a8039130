"""A namespace's end: first all that is in it, then the namespace."""

from collections import Counter

from sandbox.kubernetes.clock import timestamp
from sandbox.kubernetes.controllers.owners import is_terminating, set_condition
from sandbox.kubernetes.controllers.work import Key
from sandbox.kubernetes.resources import NAMESPACES, RESOURCES, Object, Resource
from sandbox.kubernetes.store import Event, Store

ACTOR = "namespace-controller"


class Namespaces:
    """Deletes the contents of a deleted namespace and says what it is waiting for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ending: set[str] = set()

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is NAMESPACES:
            return self._saw_namespace(event)
        namespace = event.object["metadata"].get("namespace")
        return [(None, namespace)] if namespace in self._ending else []

    def reconcile(self, key: Key) -> None:
        namespace = self._store.find(NAMESPACES, None, key[1])
        if namespace is None or not is_terminating(namespace):
            return
        for resource, obj in self._contents(key[1]):
            metadata = obj["metadata"]
            if not is_terminating(obj):
                self._store.delete(resource, key[1], metadata["name"], propagation="Background", actor=ACTOR)
        left = self._contents(key[1])
        if left:
            self._tell(key[1], left)
        else:
            self._finish(key[1])

    def _saw_namespace(self, event: Event) -> list[Key]:
        name = event.object["metadata"]["name"]
        self._ending.discard(name)
        if event.type == "DELETED" or not is_terminating(event.object):
            return []
        self._ending.add(name)
        return [(None, name)]

    def _contents(self, namespace: str) -> list[tuple[Resource, Object]]:
        kinds = [resource for resource in RESOURCES if resource.namespaced and resource.is_stored]
        return [(resource, obj) for resource in kinds for obj in self._store.list(resource, namespace)]

    def _tell(self, namespace: str, left: list[tuple[Resource, Object]]) -> None:
        """Which objects remain and which finalizers hold them, as the conditions of a stuck namespace say it."""
        kinds = Counter(resource.qualified for resource, _ in left)
        finalizers = Counter(name for _, obj in left for name in obj["metadata"].get("finalizers") or [])
        content = ", ".join(f"{kind} has {count} resource instances" for kind, count in sorted(kinds.items()))
        held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
        now = timestamp(self._store.clock.now())

        def tell(found: Object) -> None:
            message = f"Some resources are remaining: {content}"
            set_condition(found, now, "NamespaceContentRemaining", "True", "SomeResourcesRemain", message)
            if held:
                message = f"Some content in the namespace has finalizers remaining: {held}"
                set_condition(found, now, "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message)

        self._store.change(NAMESPACES, None, namespace, tell, subresource="status", actor=ACTOR)

    def _finish(self, namespace: str) -> None:
        def release(found: Object) -> None:
            found["spec"]["finalizers"] = []

        self._store.change(NAMESPACES, None, namespace, release, subresource="finalize", actor=ACTOR)
