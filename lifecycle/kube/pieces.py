"""How a capture lies in a namespace: a gzip of canonical JSON, cut into Secrets that name each other.

The hash is that of the whole gzip and not of the JSON in it: pieces of two gzips of the same JSON, as two versions of
zlib write them, do not fit together.
"""

import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from lifecycle.errors import Invalid
from lifecycle.kube import read
from lifecycle.kube.answers import Json
from lifecycle.kube.read import EPOCH, OPERATION
from lifecycle.operation import Operation

TYPE = "tml-bot/capture"
LABEL = "tml-bot/capture"
"""Of each piece: the id of the operation that took the capture."""
NAMESPACE = "tml-bot/namespace"
"""Label of each piece of a copy: the namespace of the cluster that was captured."""
CLUSTER = "tml-bot/cluster"
"""Annotation of each piece of a copy: what people call that cluster."""
SHA256 = "tml-bot/sha256"
INDEX = "tml-bot/index"
OF = "tml-bot/of"
KEY = "capture.json.gz"

LARGEST = 900 * 1024
"""Bytes in one Secret; Kubernetes takes a MiB of data, its names and annotations aside."""


@dataclass(frozen=True)
class Pack:
    """A capture as it is written; ``sha256`` is that of all pieces joined."""

    sha256: str
    pieces: tuple[bytes, ...] = field(repr=False)


def pack(objects: Sequence[Json], largest: int = LARGEST) -> Pack:
    """The same for the same objects."""
    text = json.dumps(objects, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    zipped = gzip.compress(text.encode(), mtime=0)
    cut = tuple(zipped[start : start + largest] for start in range(0, len(zipped), largest))
    return Pack(hashlib.sha256(zipped).hexdigest(), cut)


def packed(pieces: Iterable[bytes], sha256: str) -> Pack:
    """As it was written. Raises Invalid where it is not that."""
    pack = tuple(pieces)
    found = hashlib.sha256(b"".join(pack)).hexdigest()
    if found != sha256:
        raise Invalid(f"the capture is not what was written: its sha256 is {found}, not {sha256}")
    return Pack(sha256, pack)


def unpack(pack: Pack) -> list[Json]:
    """Raises Invalid where it cannot be read; nothing of it is in its text."""
    zipped = b"".join(pack.pieces)
    objects: list[Json] | None = None
    with suppress(OSError, EOFError, ValueError, zlib.error):  # these errors hold what they could not read
        objects = json.loads(gzip.decompress(zipped))
    if not isinstance(objects, list):
        raise Invalid("the capture cannot be read")
    return objects


@dataclass(frozen=True)
class Shelf:
    """A namespace in which captures of the cluster in the namespace ``of`` lie; where it is another one, as copies.

    A copy bears that namespace in its name and as a label: several clusters may share one shelf.
    """

    namespace: str
    of: str

    @property
    def marks(self) -> dict[str, str]:
        """Labels of every piece there."""
        return {NAMESPACE: self.of} if self.namespace != self.of else {}

    def asked(self, operation: str = "") -> dict[str, str]:
        """With what a list or a watch of its pieces, or of those of one operation, is asked for."""
        which = f"{LABEL}={operation}" if operation else LABEL
        return {"labelSelector": ",".join([which, *(f"{key}={value}" for key, value in self.marks.items())])}

    def name_of(self, operation: str, index: int) -> str:
        what = f"copy-{self.of}" if self.marks else "capture"
        return f"tml-bot-{what}-{operation.lower()}-{index}"

    def is_of(self, secret: Json, operation: str) -> bool:
        """Whether it is a piece of the operation's capture, by its metadata."""
        labels = read.labels_of(secret)
        marks = (labels.get(LABEL), read.annotations_of(secret).get(OPERATION), labels.get(NAMESPACE))
        return marks == (operation, operation, self.marks.get(NAMESPACE))

    def whole(self, secrets: Iterable[Json], operation: str) -> str:
        """The sha256 of the operation's capture where all of its pieces are there; empty where not."""
        indices: dict[tuple[str, str], set[str]] = {}
        for one in secrets:
            notes = read.annotations_of(one)
            if self.is_of(one, operation) and not read.is_deleting(one):
                indices.setdefault((notes.get(SHA256, ""), notes.get(OF, "")), set()).add(notes.get(INDEX, ""))
        for (sha256, count), seen in sorted(indices.items()):
            if sha256 and count.isdecimal() and int(count) > 0 and seen >= {str(index) for index in range(int(count))}:
                return sha256
        return ""


def secret(pack: Pack, index: int, operation: Operation, shelf: Shelf) -> Json:
    """Immutable: it can be removed, but nobody changes what is in it."""
    notes = {
        SHA256: pack.sha256,
        INDEX: str(index),
        OF: str(len(pack.pieces)),
        OPERATION: operation.id,
        EPOCH: str(operation.epoch),
        **({CLUSTER: operation.cluster} if shelf.marks else {}),
    }
    labels = {LABEL: operation.id, **shelf.marks}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": shelf.name_of(operation.id, index), "labels": labels, "annotations": notes},
        "type": TYPE,
        "immutable": True,
        "data": {KEY: base64.b64encode(pack.pieces[index]).decode()},
    }


def content(piece: Json) -> bytes:
    """Raises Invalid where there is none; nothing of it is in its text."""
    written = str((piece.get("data") or {}).get(KEY, ""))
    with suppress(ValueError, TypeError):  # raised below, without what it could not read
        return base64.b64decode(written, validate=True)
    raise Invalid(f"{read.name_of(piece)} holds no piece of a capture")
