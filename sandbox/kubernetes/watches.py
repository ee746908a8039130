"""A watch: the events of a selection as lines of JSON, from a revision on."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientConnectionResetError, web

from sandbox.kubernetes import forms, status
from sandbox.kubernetes.call import TRUE, Call
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import Object
from sandbox.kubernetes.selectors import Test, selection
from sandbox.kubernetes.status import ApiError
from sandbox.kubernetes.store import Event, Feed, Store
from sandbox.kubernetes.tables import table

# a server without a limit from the client ends watches after half an hour at the earliest
_LONGEST_SECONDS = 1800.0
Line = tuple[str, Object]


@dataclass(frozen=True)
class WatchFaults:
    """What goes wrong with this watch."""

    silent: bool = False
    expired: bool = False
    cut_after: int | None = None

    @classmethod
    def of(cls, met: Iterable[Fault]) -> "WatchFaults":
        by_kind = {fault.kind: fault for fault in met}
        cut = by_kind.get("drop_watch")
        return cls("silent" in by_kind, "expired" in by_kind, None if cut is None else cut.after_events)


def transition(event: Event, selected: Test) -> Line | None:
    """What a watcher of a selection sees of a change: entering it is ADDED, leaving it is DELETED."""
    was = event.previous is not None and selected(event.previous)
    if event.type == "DELETED":
        return ("DELETED", event.object) if was else None
    if selected(event.object):
        return ("MODIFIED" if was else "ADDED"), event.object
    return ("DELETED", _last_seen(event)) if was else None


def _last_seen(event: Event) -> Object:
    """The last state that was selected, under the revision at which it no longer was."""
    previous = event.previous or {}
    return {**previous, "metadata": {**previous["metadata"], "resourceVersion": str(event.revision)}}


class Watch:
    """One watch request. Raises ApiError for what is refused before the first line."""

    def __init__(self, store: Store, call: Call, faults: WatchFaults, bookmark_seconds: float) -> None:
        query, target = call.query, call.target
        if "sendInitialEvents" in query:
            why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            raise status.invalid_options("ListOptions", status.forbidden_field("sendInitialEvents", why))
        self._store = store
        self._target = target
        self._faults = faults
        self._since = _revision(query.get("resourceVersion", ""))
        self._selected = selection(target.resource, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        self._seconds = float(query.get("timeoutSeconds") or 0) or _LONGEST_SECONDS
        self._bookmark_seconds = bookmark_seconds if query.get("allowWatchBookmarks") in TRUE else None
        self._include = query.get("includeObject")
        self._form = call.form
        self._left = faults.cut_after

    async def serve(self, request: web.Request, feed: Feed) -> web.StreamResponse:
        """`feed`: subscribed to before this call; a None in it ends the watch."""
        first = self._first()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            await self._send(response, first)
            if not (first and first[-1][0] == "ERROR"):
                await self._follow(response, feed)
        except _NotShown:
            pass
        except _Cut:
            if request.transport is not None:
                request.transport.abort()
        except ClientConnectionResetError:
            pass  # whoever watched has gone
        return response

    def _first(self) -> list[Line]:
        if self._faults.silent:
            return []
        try:
            return self._replay()
        except ApiError as error:
            return [("ERROR", error.body)]

    def _replay(self) -> list[Line]:
        """Everything up to now; from here on the feed tells."""
        since, self._since = self._since, max(self._since, self._store.revision)
        if self._faults.expired:
            raise status.expired(since, self._store.revision)
        if since == 0:
            rows = self._store.rows(self._target.resource, self._target.namespace)
            return [("ADDED", row) for row in rows if self._concerns(row) and self._selected(row)]
        return self._lines(self._store.events_since(since))

    def _concerns(self, obj: Object) -> bool:
        metadata, target = obj["metadata"], self._target
        return (not target.namespace or metadata.get("namespace") == target.namespace) and (
            not target.name or metadata["name"] == target.name
        )

    def _lines(self, events: Iterable[Event]) -> list[Line]:
        own = (event for event in events if event.resource is self._target.resource and self._concerns(event.object))
        return [line for event in own if (line := transition(event, self._selected)) is not None]

    async def _follow(self, response: web.StreamResponse, feed: Feed) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + self._seconds
        while True:
            try:
                event = await asyncio.wait_for(feed.get(), self._pause(end - clock()))
            except TimeoutError:
                # a bookmark must not run ahead of an event that came in just now
                if feed.empty():
                    await self._bookmark(response)
                    if clock() >= end:
                        return
                continue
            if event is None:
                return
            await self._pass_on(response, event, feed)

    def _pause(self, left: float) -> float | None:
        """Until the next bookmark or the end; a silent watch knows neither."""
        if self._faults.silent:
            return None
        # not zero: what waits in the feed goes before the end
        return max(0.001, left if self._bookmark_seconds is None else min(left, self._bookmark_seconds))

    async def _pass_on(self, response: web.StreamResponse, event: Event, feed: Feed) -> None:
        """One write for all events that wait."""
        events = [event]
        while not feed.empty():
            following = feed.get_nowait()
            if following is None:
                feed.put_nowait(None)
                break
            events.append(following)
        # a resourceVersion from the future stays silent until it is reached
        newer = [one for one in events if one.revision > self._since]
        if not self._faults.silent:
            await self._send(response, self._lines(newer))

    async def _bookmark(self, response: web.StreamResponse) -> None:
        if self._bookmark_seconds is None or self._store.revision < self._since:
            return
        resource = self._target.resource
        metadata = {"resourceVersion": str(self._store.revision)}
        mark = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        await self._write(response, [_encoded("BOOKMARK", self._shown("BOOKMARK", mark))])

    async def _send(self, response: web.StreamResponse, lines: list[Line]) -> None:
        whole = lines if self._left is None else lines[: self._left]
        await self._write(response, [_encoded(type_, self._shown(type_, obj)) for type_, obj in whole])
        if self._left is not None:
            self._left -= len(whole)
            if self._left <= 0:
                raise _Cut

    def _shown(self, type_: str, obj: Object) -> Object:
        if type_ == "ERROR":
            return obj
        match self._form.kind:
            case forms.TABLE:
                rows = [] if type_ == "BOOKMARK" else [obj]
                shown = table(self._form, self._target.resource, rows, self._store.clock.now(), self._include)
                return {**shown, "metadata": {"resourceVersion": obj["metadata"]["resourceVersion"]}}
            case forms.METADATA:
                return self._form.metadata_of(obj)
            case forms.METADATA_LIST:
                raise _NotShown
            case _:
                return obj

    async def _write(self, response: web.StreamResponse, lines: list[bytes]) -> None:
        if lines:
            await response.write(b"".join(lines))


class _NotShown(Exception):
    """No event can be told in the form that was asked for: the watch ends without a word."""


class _Cut(Exception):
    """The connection is to be dropped here."""


def _encoded(type_: str, obj: Any) -> bytes:
    return json.dumps({"type": type_, "object": obj}, separators=(",", ":")).encode() + b"\n"


def _revision(text: str) -> int:
    """0: from the current state on."""
    if text and not text.isdigit():
        why = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise status.failure(500, "", why)
    return int(text or 0)
