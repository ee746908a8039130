"""How a capture lies in the namespace: a gzip of canonical JSON, cut into Secrets that name each other.

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

TYPE = "tml-bot/capture"
LABEL = "tml-bot/capture"
"""Of each piece: the id of the operation that took the capture."""
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


def unpack(pieces: Iterable[bytes], sha256: str) -> list[Json]:
    """Raises Invalid where they are not what was written; nothing of them is in its text."""
    zipped = b"".join(pieces)
    found = hashlib.sha256(zipped).hexdigest()
    if found != sha256:
        raise Invalid(f"the capture is not what was written: its sha256 is {found}, not {sha256}")
    objects: list[Json] | None = None
    with suppress(OSError, EOFError, ValueError, zlib.error):  # these errors hold what they could not read
        objects = json.loads(gzip.decompress(zipped))
    if not isinstance(objects, list):
        raise Invalid("the capture cannot be read")
    return objects


def name_of(operation: str, index: int) -> str:
    return f"tml-bot-capture-{operation.lower()}-{index}"


def secret(pack: Pack, index: int, operation: str, epoch: int) -> Json:
    """Immutable: it can be removed, but nobody changes what is in it."""
    notes = {
        SHA256: pack.sha256,
        INDEX: str(index),
        OF: str(len(pack.pieces)),
        OPERATION: operation,
        EPOCH: str(epoch),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name_of(operation, index), "labels": {LABEL: operation}, "annotations": notes},
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


def is_of(secret: Json, operation: str) -> bool:
    """Whether it is a piece of the operation's capture, by its metadata."""
    marks = (read.labels_of(secret).get(LABEL), read.annotations_of(secret).get(OPERATION))
    return marks == (operation, operation)


def whole(secrets: Iterable[Json], operation: str) -> str:
    """The sha256 of the operation's capture where all of its pieces are there; empty where not."""
    indices: dict[tuple[str, str], set[str]] = {}
    for one in secrets:
        notes = read.annotations_of(one)
        if is_of(one, operation) and not read.is_deleting(one):
            indices.setdefault((notes.get(SHA256, ""), notes.get(OF, "")), set()).add(notes.get(INDEX, ""))
    for (sha256, count), seen in sorted(indices.items()):
        if sha256 and count.isdecimal() and int(count) > 0 and seen >= {str(index) for index in range(int(count))}:
            return sha256
    return ""
