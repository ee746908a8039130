"""A real API as the sandbox's own kubelet sees a store: read from watches, written in one queue, in order.

One queue for all objects keeps the order in which things happened here the order in which everybody else sees them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandbox.kubernetes import status
from sandbox.kubernetes.clock import Clock
from sandbox.kubernetes.resources import (
    CLAIMS,
    CONFIGMAPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    SECRETS,
    STATEFULSETS,
    VOLUMES,
    Object,
    Resource,
)
from sandbox.kubernetes.store import Event, EventType, copied
from tests.cluster.client import NOT_READY, Client, Refusal

FOLLOWED = (NAMESPACES, VOLUMES, CLAIMS, SECRETS, CONFIGMAPS, STATEFULSETS, DEPLOYMENTS, REPLICASETS, PODS)
WATCH_SECONDS = 300
TRY_AGAIN = 0.2
"""Seconds, when the API server is away."""
Key = tuple[str, str]


@dataclass(frozen=True)
class Write:
    """One request that waits to be sent; ``uid`` names the object that it is meant for and no namesake."""

    what: str
    send: Callable[[], Awaitable[object]]


def path_of(resource: Resource, namespace: str | None, name: str = "") -> str:
    api = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    space = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
    return f"{api}{space}/{resource.plural}" + (f"/{name}" if name else "")


class Mirror:
    """What the sandbox's kubelet, volumes and event recorder use of a `sandbox.kubernetes.store.Store`."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.clock = clock
        self._client = client
        self._objects: dict[Resource, dict[Key, Object]] = {}
        self._status: dict[str, Object] = {}
        """Pods' statuses by uid as they were written here: an event that is older than a write does not undo it."""
        self._queue: asyncio.Queue[Write] = asyncio.Queue()
        self._listeners: list[Callable[[Event], None]] = []

    def tell(self, listener: Callable[[Event], None]) -> None:
        self._listeners.append(listener)

    def find(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        return copied(self._objects.get(resource, {}).get((namespace or "", name)))

    def change(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        mutate: Callable[[Object], None],
        *,
        subresource: str = "",
        actor: str = "",
    ) -> Object:
        """The status of a pod, or an event's count: what a kubelet writes. Raises ApiError (404)."""
        path = path_of(resource, namespace, name)
        found = self.find(resource, namespace, name)
        if found is None:
            raise status.not_found(resource, name)
        mutate(found)
        self._objects[resource][namespace or "", name] = found
        if resource is PODS:
            self._status[found["metadata"]["uid"]] = found["status"]
            body = {"metadata": {"uid": found["metadata"]["uid"]}, "status": found["status"]}
            path = f"{path}/status"
        else:
            body = {key: found[key] for key in ("count", "lastTimestamp")}
        self._send(f"PATCH {path}", lambda: self._client.patch(path, copied(body)))
        return copied(found)

    def create(self, resource: Resource, made: Object, *, actor: str = "") -> Object:
        metadata = made["metadata"]
        path = path_of(resource, metadata.get("namespace"))
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **made}
        self._objects.setdefault(resource, {})[metadata.get("namespace") or "", metadata["name"]] = copied(body)
        self._send(f"POST {path}", lambda: self._client.create(path, body))
        return body

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        grace_seconds: int | None = None,
        uid: str | None = None,
        actor: str = "",
    ) -> None:
        path = path_of(resource, namespace, name)
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        self._send(f"DELETE {path}", lambda: self._client.delete(path, options))

    async def write(self) -> None:
        """For ever: send what waits, one after the other, each until the API server has answered."""
        while True:
            following = await self._queue.get()
            while True:
                if await self._sent(following):
                    break
                await asyncio.sleep(TRY_AGAIN)

    async def follow(self, resource: Resource, known: asyncio.Event) -> None:
        """For ever: list, then watch; ``known`` is set after the first list."""
        while True:
            try:
                version = await self._list(resource)
                known.set()
                while True:
                    version = await self._watch(resource, version)
            except (*NOT_READY, Refusal, Outdated):
                await asyncio.sleep(TRY_AGAIN)

    def _send(self, what: str, send: Callable[[], Awaitable[object]]) -> None:
        self._queue.put_nowait(Write(what, send))

    async def _sent(self, write: Write) -> bool:
        """Whether it is over: done, or refused because the object is gone, another one, or there already."""
        try:
            await write.send()
        except NOT_READY:
            return False
        except Refusal as refusal:
            if refusal.answer.status >= 500 or refusal.answer.status == 429:
                return False
            # 403: a namespace on its way out takes no events
            if refusal.answer.status not in (403, 404, 409):
                raise
        return True

    async def _list(self, resource: Resource) -> str:
        """Tell of what changed since the last list, and take it over."""
        answer = await self._client.get(path_of(resource, None))
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        found = {_key(one): kind | one for one in answer.body["items"] or []}
        known = self._objects.setdefault(resource, {})
        for key in [key for key in known if key not in found or _uid(known[key]) != _uid(found[key])]:
            self._take("DELETED", resource, known[key])
        for key, one in found.items():
            self._take("MODIFIED" if key in known else "ADDED", resource, one)
        return answer.version

    async def _watch(self, resource: Resource, version: str) -> str:
        """One watch; returns where the next continues. Raises Outdated."""
        events = self._client.watch(
            path_of(resource, None), resourceVersion=version, allowWatchBookmarks=True, timeoutSeconds=WATCH_SECONDS
        )
        async for event in events:
            if event["type"] == "ERROR":
                raise Outdated
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                self._take(event["type"], resource, event["object"])
        return version

    def _take(self, type_: EventType, resource: Resource, found: Object) -> None:
        known = self._objects.setdefault(resource, {})
        # without its previous state every event of a ready pod wakes those that may wait for it
        previous = None if resource is PODS else known.get(_key(found))
        if resource is PODS and _uid(found) in self._status:
            found = {**found, "status": self._status[_uid(found)]}
        if type_ == "DELETED":
            known.pop(_key(found), None)
            self._status.pop(_uid(found), None)
        else:
            known[_key(found)] = found
        event = Event(type_, resource, found, int(found["metadata"].get("resourceVersion") or 0), previous)
        for listener in self._listeners:
            listener(event)


class Outdated(Exception):
    """The watch cannot continue from where it was."""


def _key(found: Object) -> Key:
    return found["metadata"].get("namespace") or "", found["metadata"]["name"]


def _uid(found: Object) -> str:
    """Empty for what was made here and has not come back yet."""
    return str(found["metadata"].get("uid") or "")
