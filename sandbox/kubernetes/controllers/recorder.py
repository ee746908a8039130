"""Events as people read them with `kubectl describe`: one object per reason and message, counted."""

import hashlib

from sandbox.kubernetes.clock import timestamp
from sandbox.kubernetes.resources import EVENTS, Object, Resource
from sandbox.kubernetes.store import ApiError, Store


class Recorder:
    """Writes Event objects on behalf of one component, such as `kubelet`."""

    def __init__(self, store: Store, component: str) -> None:
        self._store = store
        self._component = component

    def normal(self, resource: Resource, about: Object, reason: str, message: str) -> None:
        self._record("Normal", resource, about, reason, message)

    def warning(self, resource: Resource, about: Object, reason: str, message: str) -> None:
        self._record("Warning", resource, about, reason, message)

    def _record(self, kind: str, resource: Resource, about: Object, reason: str, message: str) -> None:
        namespace = about["metadata"].get("namespace") or "default"
        now = timestamp(self._store.clock.now())
        identity = f"{about['metadata']['uid']}/{kind}/{reason}/{message}/{self._component}"
        name = f"{about['metadata']['name']}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"

        def count(event: Object) -> None:
            event["count"] += 1
            event["lastTimestamp"] = now

        try:
            if self._store.find(EVENTS, namespace, name) is not None:
                self._store.change(EVENTS, namespace, name, count, actor=self._component)
            else:
                event = self._event(kind, resource, about, reason, message, now)
                event["metadata"] = {"name": name, "namespace": namespace}
                self._store.create(EVENTS, event, actor=self._component)
        except ApiError as error:
            # A namespace that is gone or going takes no new events; nobody's work depends on them.
            if error.status not in (403, 404):
                raise

    def _event(self, kind: str, resource: Resource, about: Object, reason: str, message: str, now: str) -> Object:
        metadata = about["metadata"]
        involved = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "namespace": metadata.get("namespace"),
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion"),
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "involvedObject": {key: value for key, value in involved.items() if value},
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "eventTime": None,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
        }
