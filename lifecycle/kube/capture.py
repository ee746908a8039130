"""The capture: every object that goes, as it is live, in Secrets; at home, copied elsewhere, and the way back from it.

No error here, and no text or repr of anything, holds what is in a Secret: what the door says of one has no body.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lifecycle.errors import Conflict, Gone, Invalid
from lifecycle.kube import paths, pieces, read
from lifecycle.kube.answers import Accept, Json
from lifecycle.kube.door import Door
from lifecycle.kube.fence import require
from lifecycle.kube.parallel import together
from lifecycle.kube.paths import Resource
from lifecycle.kube.pieces import Pack, Shelf
from lifecycle.model import Ref, Verb
from lifecycle.operation import Goal, Operation
from lifecycle.ports import Lease


@dataclass(frozen=True)
class Captor:
    """Writes one operation's capture, to its namespace and to those that it is copied to."""

    door: Door
    namespace: str
    operation: Operation
    lease: Lease

    async def write(self) -> str:
        """The sha256, the same everywhere. A capture that is whole is never written again, whatever is live by then."""
        own, *copies = [
            Writer(self.door, Shelf(where, self.namespace), self.operation, self.lease)
            for where in (self.namespace, *self.operation.goal.copies)
        ]
        sha256 = await own.whole()
        pack = None if sha256 else pieces.pack(await self._live())
        if pack:
            await own.put(pack)
        for copy in copies:
            if await copy.whole() != (pack.sha256 if pack else sha256):
                pack = pack or await read_pack(self.door, own.shelf, self.operation.id, sha256)
                await copy.put(pack)
        return pack.sha256 if pack else sha256

    async def _live(self) -> list[Json]:
        """Whole, in the order of their names; managedFields is Kubernetes' own bookkeeping and left out."""
        found = await together(self._read(ref, uid) for ref, uid in captured_objects(self.operation.goal))
        for one in found:
            read.metadata(one).pop("managedFields", None)
        return found

    async def _read(self, ref: Ref, uid: str) -> Json:
        try:
            found = await self.door.get(paths.of(ref, self.namespace))
        except Gone:
            raise Invalid(f"{ref} was deleted since it was looked at, so it cannot be captured") from None
        if read.uid_of(found) != uid:
            raise Invalid(f"{ref} was replaced by another object of the same name")
        return found


@dataclass(frozen=True)
class Writer:
    """Puts a capture on a shelf. Piece by piece, so that what a crash leaves is not whole, and is made anew."""

    door: Door
    shelf: Shelf
    operation: Operation
    lease: Lease

    async def whole(self) -> str:
        """The sha256 of what is there; empty where that is not whole."""
        return self.shelf.whole((await self._found()).values(), self.operation.id)

    async def put(self, pack: Pack) -> None:
        """Raises Conflict where a later executor has begun to."""
        found = await self._found()
        self._refuse_later(found)
        for index in range(len(pack.pieces)):
            await self._put(pack, index, found.pop(self.shelf.name_of(self.operation.id, index), None))
        for left in found.values():
            await self._remove(left)

    async def _found(self) -> dict[str, Json]:
        """The pieces that are there, by name, without what is in them."""
        path = paths.all_of(Resource.SECRETS, self.shelf.namespace)
        answer = await self.door.get(path, self.shelf.asked(self.operation.id), accept=Accept.METADATA_LIST)
        return {read.name_of(one): one for one in answer.get("items") or []}

    def _refuse_later(self, found: dict[str, Json]) -> None:
        """A thawed executor must not take pieces away from the one that came after it."""
        latest = max(map(read.epoch_of, found.values()), default=0)
        if latest > self.operation.epoch:
            raise Conflict(f"the capture was taken over by a later executor (epoch {latest})")

    async def _put(self, pack: Pack, index: int, there: Json | None) -> None:
        """Only a piece that this executor wrote of this very capture stays; every other one is replaced.

        Taken over by a later executor, a piece of the same capture is written anew too: a delete that the earlier one
        sent late then meets another uid.
        """
        secret = pieces.secret(pack, index, self.operation, self.shelf)
        if there is not None:
            if read.annotations_of(secret).items() <= read.annotations_of(there).items():
                return
            await self._remove(there)
        require(self.lease)
        try:
            await self.door.create(paths.all_of(Resource.SECRETS, self.shelf.namespace), secret)
        except Conflict:
            await self._judge_taken(secret)

    async def _judge_taken(self, secret: Json) -> None:
        """Done where it is what we would have written; raises Conflict for another piece of ours, else Invalid."""
        name = read.name_of(secret)
        path = paths.one_of(Resource.SECRETS, self.shelf.namespace, name)
        found = await self.door.get(path, accept=Accept.METADATA)
        if not self.shelf.is_of(found, self.operation.id):
            raise Invalid(f"secret/{name} is there already, and not of {self.operation.id}")
        if not read.annotations_of(secret).items() <= read.annotations_of(found).items():
            raise Conflict(f"secret/{name} is of another attempt at this capture")

    async def _remove(self, piece: Json) -> None:
        path = paths.one_of(Resource.SECRETS, self.shelf.namespace, read.name_of(piece))
        require(self.lease)
        try:
            await self.door.delete(path, read.uid_of(piece), read.metadata(piece).get("resourceVersion", ""))
        except Gone:
            return


def captured_objects(goal: Goal) -> list[tuple[Ref, str]]:
    """What goes, and the volumes that stay behind it: each with its uid.

    Where the claims stay, or where there is a copy, also the parts that do: what is missing is made again, whoever
    removed it, be it with the namespace.
    """
    others = () if goal.verb is Verb.REMOVE else (*goal.claims, *goal.volumes)
    staying = goal.staying if goal.verb is Verb.REMOVE or goal.copies else ()
    return sorted({(one.ref, one.uid) for one in (*goal.topology, *goal.parts, *others, *staying)})


class Reader:
    """Reads captures; who asks for one while it is being read gets the same. Nothing is kept after that."""

    def __init__(self, door: Door, namespace: str) -> None:
        self._door = door
        self._namespace = namespace
        self._reading: dict[tuple[str, str], asyncio.Task[dict[Ref, Json]]] = {}

    async def read(self, operation: str, sha256: str, copies: Sequence[str] = ()) -> dict[Ref, Json]:
        """From the cluster's own namespace; where it cannot be read there, from the first of ``copies`` where it can.

        Raises as `read_back`, for the first of them.
        """
        key = (operation, sha256)
        if key not in self._reading:
            task = asyncio.create_task(self._first(operation, sha256, copies))
            task.add_done_callback(lambda _: self._reading.pop(key))
            self._reading[key] = task
        return await asyncio.shield(self._reading[key])

    async def _first(self, operation: str, sha256: str, copies: Sequence[str]) -> dict[Ref, Json]:
        try:
            return await read_back(self._door, Shelf(self._namespace, self._namespace), operation, sha256)
        except Invalid:
            for where in copies:
                with suppress(Invalid):  # raised below, as it is in the cluster's own namespace
                    return await read_back(self._door, Shelf(where, self._namespace), operation, sha256)
            raise


async def read_back(door: Door, shelf: Shelf, operation: str, sha256: str) -> dict[Ref, Json]:
    """What the operation of this id captured. Raises Invalid where it is not whole, or not what was written."""
    return dict(_by_ref(pieces.unpack(await read_pack(door, shelf, operation, sha256))))


async def read_pack(door: Door, shelf: Shelf, operation: str, sha256: str) -> Pack:
    """Raises as `read_back`."""
    first = await _piece(door, shelf, operation, 0)
    count = read.annotations_of(first).get(pieces.OF, "")
    if not count.isdecimal() or int(count) < 1:
        raise Invalid(
            f"the capture of {operation} cannot be read: {read.name_of(first)} does not say how many there are"
        )
    rest = await together(_piece(door, shelf, operation, index) for index in range(1, int(count)))
    return pieces.packed((pieces.content(one) for one in (first, *rest)), sha256)


async def _piece(door: Door, shelf: Shelf, operation: str, index: int) -> Json:
    name = shelf.name_of(operation, index)
    try:
        return await door.get(paths.one_of(Resource.SECRETS, shelf.namespace, name))
    except Gone:
        raise Invalid(f"the capture of {operation} is not whole: there is no Secret {name}") from None


def _by_ref(objects: list[Json]) -> Iterator[tuple[Ref, Json]]:
    for one in objects:
        kind = next((kind for kind in paths.OF_KIND if kind == one.get("kind")), None)
        if kind is not None:
            yield Ref(kind, read.name_of(one)), one
