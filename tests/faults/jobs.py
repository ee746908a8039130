"""The operations of the matrix: how each is prepared and ordered, and what has to be so when it is done."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

from sandbox import Sandbox, tml
from sandbox.kubernetes.resources import DEPLOYMENTS, PODS, STATEFULSETS, Object
from tests.e2e.belongings import bytes_of, captures, comparable, objects, policies
from tests.e2e.test_delete import PULL_SECRET
from tests.e2e.test_snapshot import assert_whole_set
from tests.e2e.town import Town, approval_in, words_of

STAGING = tml.STAGING_NAMESPACE


@dataclass(frozen=True)
class Held:
    """What the cluster is and holds."""

    objects: dict[str, Object]
    bytes: dict[str, dict[str, str]]
    policies: dict[str, tuple[str, str, str]]
    pods: frozenset[str]

    @classmethod
    def of(cls, box: Sandbox) -> "Held":
        pods = frozenset(pod["metadata"]["uid"] for pod in box.kubernetes.store.list(PODS, STAGING))
        return cls(comparable(objects(box, STAGING)), bytes_of(box, STAGING), policies(box, STAGING), pods)


@dataclass(frozen=True)
class Job:
    """One operation on staging, whose volumes all have bytes.

    ``first`` brings the cluster from running to where it begins. ``writes`` and ``commits`` are how many there are when
    nothing disturbs it: the matrix kills after each.
    """

    name: str
    words: str
    done: str
    reached: Callable[[Sandbox, Held], None]
    """Fails where the goal is not reached; knows what the cluster was while it ran."""
    writes: int
    commits: int
    first: tuple["Job", ...] = ()

    async def order(self, place: Town) -> None:
        """Type it, and have a second person say yes where one is needed."""
        answer = await place.types("alice", f"{self.words} because of the matrix")
        text = words_of(answer)
        if "confirm" in str(answer.blocks):
            await place.presses("alice", "confirm", answer)
        elif "Asked for: " in text:
            card = await place.card(approval_in(text), "ops")
            await place.types("carol", f"approve {approval_in(text)} staging")
            assert card.only_for is None


def is_stopped(box: Sandbox, before: Held) -> None:
    now = Held.of(box)
    assert not now.pods
    assert set(replicas(box).values()) == {0}
    assert without_counts(now.objects) == without_counts(before.objects)
    assert_untouched(now, before)


def is_running(box: Sandbox, before: Held) -> None:
    now = Held.of(box)
    assert now.objects == before.objects
    assert_untouched(now, before)


def is_restarted(box: Sandbox, before: Held) -> None:
    now = Held.of(box)
    assert not now.pods & before.pods
    assert without_marks(now.objects) == without_marks(before.objects)
    assert_untouched(now, before)


def is_cut(box: Sandbox, before: Held) -> None:
    is_running(box, before)
    assert_whole_set(box)
    assert len(captures(box, STAGING)) == 1


def is_deleted(box: Sandbox, before: Held) -> None:
    now = Held.of(box)
    assert set(now.objects) == {PULL_SECRET}
    assert now.bytes == before.bytes
    assert now.policies == {claim: (uid, "Retain", "Released") for claim, (uid, _, _) in before.policies.items()}
    assert_whole_set(box)
    assert len(captures(box, STAGING)) == 1


def assert_untouched(now: Held, before: Held) -> None:
    """Not a claim, not a volume, not a byte."""
    assert now.bytes == before.bytes
    assert now.policies == before.policies


def replicas(box: Sandbox) -> dict[str, int]:
    store = box.kubernetes.store
    found = (one for kind in (STATEFULSETS, DEPLOYMENTS) for one in store.list(kind, STAGING))
    return {one["metadata"]["name"]: one["spec"]["replicas"] for one in found}


def without_counts(found: dict[str, Object]) -> dict[str, Object]:
    stripped = copy.deepcopy(found)
    for one in stripped.values():
        one.get("spec", {}).pop("replicas", None)
    return stripped


def without_marks(found: dict[str, Object]) -> dict[str, Object]:
    """Without the annotation by which a template's pods are made anew."""
    stripped = copy.deepcopy(found)
    for one in stripped.values():
        one.get("spec", {}).get("template", {}).get("metadata", {}).pop("annotations", None)
    return stripped


STOP = Job("stop", "stop staging", "Stopped staging", is_stopped, writes=14, commits=60)
START = Job("start", "start staging", "Started staging", is_running, writes=14, commits=60, first=(STOP,))
RESTART = Job("restart", "restart staging --downtime", "Restarted staging", is_restarted, writes=14, commits=70)
SNAPSHOT = Job("snapshot", "snapshot staging cold", "Cut a snapshot set of staging", is_cut, writes=27, commits=165)
DELETE = Job("delete", "delete staging", "Deleted staging", is_deleted, writes=67, commits=160)
RESTORE = Job("restore", "restore staging", "Restored staging", is_running, writes=54, commits=125, first=(DELETE,))
JOBS = (STOP, START, RESTART, SNAPSHOT, DELETE, RESTORE)
