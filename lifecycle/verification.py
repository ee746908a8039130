"""Restore tests: what of a set is cloned and checked how, what came of it, and what one may have left behind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from shlex import quote

from lifecycle.model import Component, Kind, Ref
from lifecycle.snapshots import SnapshotSet
from lifecycle.volumes import Claim


class Result(StrEnum):
    """What a check says of the data; NOT_CHECKED says nothing of them."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Toleration:
    """A pod's toleration of a node's taint, in Kubernetes' own words."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""


@dataclass(frozen=True)
class Likeness:
    """What a check's pod takes over from the component's own ones, so that it runs where they run and as who they do.

    ``mount`` is where they have the volume. Nothing of their environment, Secrets or commands.
    """

    image: str
    mount: str
    pull_secrets: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None
    fs_group: int | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()


@dataclass(frozen=True)
class Examined:
    """A member of the set with how its clone is made (``size`` in bytes) and what looks at it."""

    claim: str
    snapshot: str
    snapshot_uid: str
    size: int
    storage_class: str
    access_modes: tuple[str, ...]
    component: Component
    command: tuple[str, ...]
    likeness: Likeness

    @property
    def snapshot_ref(self) -> Ref:
        return Ref(Kind.SNAPSHOT, self.snapshot)


@dataclass(frozen=True)
class Verifying:
    """The set that an operation tests."""

    set: str
    members: tuple[Examined, ...]

    def member(self, operation: str, name: str) -> Examined | None:
        """By the name of its clone, which is its pod's too."""
        return next((one for one in self.members if scratch_name(operation, one.claim) == name), None)


@dataclass(frozen=True)
class Verdict:
    """On one member: ``why`` and the check's last lines (``log``) where it did not pass, somebody else's words both."""

    claim: str
    result: Result
    exit_code: int | None = None
    why: str = ""
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verification:
    """What a restore test SAW of a set; ``by`` is the operation that made it."""

    set: str
    by: str
    at: datetime
    verdicts: tuple[Verdict, ...]

    @property
    def result(self) -> Result:
        """One member that failed makes the set bad, one that was not checked leaves it open."""
        found = {one.result for one in self.verdicts}
        return next((one for one in (Result.FAILED, Result.NOT_CHECKED) if one in found), Result.PASSED)

    @property
    def is_conclusive(self) -> bool:
        return self.result is not Result.NOT_CHECKED


@dataclass(frozen=True)
class Leftover:
    """A scratch object that is there although the operation that made it does not run."""

    ref: Ref
    operation: str


def scratch_name(operation: str, claim: str) -> str:
    """Of the clone of this member of the set, and of the pod that looks at it."""
    return f"tml-{operation}-{claim}"


def scratch_claim(operation: str, claim: str) -> Ref:
    return Claim.ref_of(scratch_name(operation, claim))


def scratch_pod(operation: str, claim: str) -> Ref:
    return Ref(Kind.POD, scratch_name(operation, claim))


def default_check(component: Component, mount: str) -> tuple[str, ...]:
    """Whether the files are there that the component finds when it starts; no database is started, none recovers.

    A new file system is not empty: ext4 has a lost+found.
    """
    look, data, tables = f"ls -A {quote(mount)}", quote(f"{mount}/data"), quote(f"{mount}/mysql")
    match component:
        case Component.NOSQL:
            script = f"{look} && ls -A {data} | grep -qvxF lost+found"
        case Component.SQL:
            script = f"{look} && test -s {quote(f'{mount}/ibdata1')} || test -d {tables}"
        case Component.CACHE:
            script = look
        case _:
            script = f"{look} && {look} | grep -qvxF lost+found"
    return ("sh", "-c", script)


def doubt(cluster: str, newest: SnapshotSet | None, known: Verification | None) -> str | None:
    """What a delete has to say of the newest set that there is; None where its restore was tested, and went well."""
    if newest is None:
        return f"no snapshot set of {cluster} was ever taken, so none was ever verified"
    test = f"/tml verify {cluster} {newest.id}"
    if known is None:
        return f"the newest snapshot set {newest.id} was never verified: {test} tests it"
    match known.result:
        case Result.PASSED:
            return None
        case Result.FAILED:
            return f"the newest snapshot set {newest.id} FAILED its verification ({known.by}): it is bad"
        case _:
            return f"the newest snapshot set {newest.id} could not be verified ({known.by}): {test} tries again"
