"""The bytes behind the volumes: one folder per volume handle, found through the claim that is bound to it.

A snapshot is a copy of such a folder under a handle of its own; it outlives the volume and every object that names it.
"""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from sandbox.kubernetes.resources import CLAIMS, VOLUMES, Object
from sandbox.kubernetes.store import Store

SNAPSHOTS = ".snapshots"
"""The folder among those of the volumes that holds the snapshots', by handle."""


class NotBound(LookupError):
    """The claim has no volume yet, so there is nothing to read or write."""


def handle_of(volume: Object) -> str:
    """What the storage knows a PersistentVolume by; it outlives the object, and so does the folder named after it."""
    spec = volume["spec"]
    handle: str = (
        spec.get("csi", {}).get("volumeHandle")
        or spec.get("awsElasticBlockStore", {}).get("volumeID")
        or spec.get("nfs", {}).get("path")
        or volume["metadata"]["name"]
    )
    return handle.strip("/").replace("/", "_")


def digest_of(folder: Path) -> str:
    """The sha256 over the sorted paths and bytes of all files in a folder, as hex."""
    digest = hashlib.sha256()
    for path, file in _contents(folder):
        content = file.read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


class Volumes:
    """Files inside the volumes of a sandbox; every claim is named by namespace and name."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def write(self, namespace: str, claim: str, path: str, content: bytes) -> None:
        """Write one file, with the folders above it. Raises NotBound."""
        target = self._inside(namespace, claim, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def append(self, namespace: str, claim: str, path: str, content: bytes) -> None:
        """Add to the end of one file, which is made where it is missing. Raises NotBound."""
        with self._inside(namespace, claim, path).open("ab") as file:
            file.write(content)

    def read(self, namespace: str, claim: str, path: str) -> bytes:
        """Raises NotBound, or OSError where there is no such file."""
        return self._inside(namespace, claim, path).read_bytes()

    def files(self, namespace: str, claim: str) -> list[str]:
        """The paths of all files in it, sorted. Raises NotBound."""
        return [path for path, _ in _contents(self.folder_of(namespace, claim))]

    def digest(self, namespace: str, claim: str) -> str:
        """The sha256 over the sorted paths and bytes of all files, as hex. Raises NotBound."""
        return digest_of(self.folder_of(namespace, claim))

    def has(self, namespace: str, claim: str) -> bool:
        """Whether there is a volume behind the claim."""
        return self._volume(namespace, claim) is not None

    def folder_of(self, namespace: str, claim: str) -> Path:
        """Where the bytes of a bound claim lie. Raises NotBound."""
        volume = self._volume(namespace, claim)
        if volume is None:
            raise NotBound(f"claim {namespace}/{claim} is bound to no volume")
        return self.make(volume)

    def make(self, volume: Object) -> Path:
        """The folder of a volume, made empty where it is missing: provisioning."""
        folder = self._folder / handle_of(volume)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def destroy(self, volume: Object) -> None:
        """Give up the bytes for good: what the reclaim policy Delete does."""
        shutil.rmtree(self._folder / handle_of(volume), ignore_errors=True)

    def cut(self, volume: Object, snapshot: str) -> None:
        """Keep the bytes of a volume as they are now under a snapshot's handle."""
        shutil.copytree(self.make(volume), self.snapshot_folder(snapshot), dirs_exist_ok=True)

    def restore(self, snapshot: str, volume: Object) -> None:
        """Make a volume of a snapshot. Raises FileNotFoundError where there is no such snapshot any more."""
        shutil.copytree(self.snapshot_folder(snapshot), self.make(volume), dirs_exist_ok=True)

    def clone(self, source: Object, volume: Object) -> None:
        """Make a volume of another one as it is now."""
        shutil.copytree(self.make(source), self.make(volume), dirs_exist_ok=True)

    def drop(self, snapshot: str) -> None:
        """Give up a snapshot's bytes for good."""
        shutil.rmtree(self.snapshot_folder(snapshot), ignore_errors=True)

    def snapshots(self) -> list[str]:
        """The handles of all snapshots whose bytes are there, whatever objects speak of them, sorted."""
        folder = self._folder / SNAPSHOTS
        return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []

    def snapshot_digest(self, snapshot: str) -> str:
        """As `digest` says it of a claim. Raises FileNotFoundError."""
        if snapshot not in self.snapshots():
            raise FileNotFoundError(snapshot)
        return digest_of(self.snapshot_folder(snapshot))

    def snapshot_folder(self, snapshot: str) -> Path:
        """Where a snapshot's bytes lie while it is there."""
        return self._folder / SNAPSHOTS / snapshot.strip("/").replace("/", "_")

    def _volume(self, namespace: str, claim: str) -> Object | None:
        found = self._store.find(CLAIMS, namespace, claim)
        name = found["spec"].get("volumeName") if found else None
        return self._store.find(VOLUMES, None, name) if name else None

    def _inside(self, namespace: str, claim: str, path: str) -> Path:
        folder = self.folder_of(namespace, claim).resolve()
        target = (folder / path.lstrip("/")).resolve()
        if not target.is_relative_to(folder):
            raise ValueError(f"{path} leads out of the volume of {namespace}/{claim}")
        return target


def _contents(folder: Path) -> Iterator[tuple[str, Path]]:
    found = ((file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.is_file())
    yield from sorted(found)
