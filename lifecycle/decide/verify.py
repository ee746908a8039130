"""Verify: a clone of each member of a set, a pod that looks at it, and nothing left of either, whatever they showed.

Nothing of the cluster is in the goal's scope, so nothing of it can be written to.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from lifecycle.decide.delete import WRITING
from lifecycle.diagnosis import Diagnosis
from lifecycle.errors import Unsafe
from lifecycle.model import Action, Component, Kind, Ref, Step, Verb
from lifecycle.observed import Observed, Scratch
from lifecycle.operation import UNMARKED, Goal, Operation, Outcome
from lifecycle.phase import Phase
from lifecycle.quantity import in_bytes
from lifecycle.snapshots import SnapshotSet
from lifecycle.topology import Topology
from lifecycle.verification import (
    Examined,
    Likeness,
    Result,
    Verdict,
    Verification,
    Verifying,
    default_check,
    scratch_claim,
    scratch_name,
    scratch_pod,
)
from lifecycle.volumes import Claim, Snapshot, Volume
from lifecycle.workloads import Pod, Workload

CHECKING = timedelta(minutes=15)
PER_GIBIBYTE = timedelta(minutes=1)
"""Added to CHECKING for the largest clone: drivers that copy it from elsewhere take their time."""
CLEANING = timedelta(minutes=10)
"""For pods to end, and for the storage to give up what is behind the clones."""
SAYS_NOTHING = 126
"""From this exit code on a shell tells that it could not run the command (126, 127) or that it was killed (128 and
more): nothing that could be held against the data (POSIX, Shell Command Language, 2.8.2)."""


def goal(
    taken: SnapshotSet, by: Operation, likenesses: Mapping[str, Likeness], commands: Mapping[Component, tuple[str, ...]]
) -> Goal:
    """What tests the set that the operation ``by`` took; ``likenesses`` are by claim, ``commands`` as configured.

    Raises Unsafe where nothing says how a member's pods run.
    """
    members = tuple(_examined(one, by.goal, likenesses, commands) for one in taken.members)
    return Goal(
        verb=Verb.VERIFY, topology=Topology(()), counts={}, mark=UNMARKED, verifying=Verifying(taken.id, members)
    )


def _examined(
    member: Snapshot,
    before: Goal,
    likenesses: Mapping[str, Likeness],
    commands: Mapping[Component, tuple[str, ...]],
) -> Examined:
    likeness, workload = likenesses.get(member.claim), _owner(before, member.claim)
    claim = next((one for one in before.claims if one.name == member.claim), None)
    if likeness is None or workload is None or claim is None:
        raise Unsafe(
            f"nothing says with which image {member.claim} could be looked at: no workload of it is live, and the "
            "capture of its set is not there, or not whole"
        )
    component = workload.component
    return Examined(
        claim=member.claim,
        snapshot=member.name,
        snapshot_uid=member.uid,
        size=max(member.size, in_bytes(claim.capacity)),
        storage_class=claim.storage_class,
        access_modes=claim.access_modes,
        component=component,
        command=commands.get(component) or default_check(component, likeness.mount),
        likeness=likeness,
    )


def _owner(before: Goal, claim: str) -> Workload | None:
    return next((one for one in before.topology if one.owns_claim(claim)), None)


def refuse_lost(made: Goal, observed: Observed) -> None:
    """Raises Unsafe where a clone could not be made of a member; ``observed`` is the picture for the goal."""
    for member in _members(made):
        seen = observed.snapshot(member.snapshot)
        if seen is None or seen.uid != member.snapshot_uid:
            raise Unsafe(f"{member.snapshot_ref} of the set is not there any more, so it cannot be cloned")
        if not seen.is_ready:
            raise Unsafe(f"{member.snapshot_ref} of the set is not ready to use: {seen.error or 'no reason is given'}")
    if taken_instead := _free_volume(made, observed):
        raise Unsafe(f"{taken_instead}. Reserve it for the claim that it is for (claimRef), then try again")


def _free_volume(made: Goal, observed: Observed) -> str | None:
    """One that a claim would be given before a clone is made for it."""
    for member in _members(made):
        for free in observed.scratch.free:
            fits = in_bytes(free.capacity) >= member.size
            if fits and free.storage_class == member.storage_class and _claim(made, observed, member) is None:
                return (
                    f"volume {free.name} of the class {free.storage_class} is free, and Kubernetes would bind it to "
                    f"the claim of {member.claim}'s clone in place of one"
                )
    return None


def _members(made: Goal) -> tuple[Examined, ...]:
    return made.verifying.members if made.verifying else ()


def _claim(made: Goal, observed: Observed, member: Examined) -> Claim | None:
    return observed.scratch.claim(scratch_name(made.mark, member.claim))


def _pod(made: Goal, observed: Observed, member: Examined) -> Pod | None:
    return observed.scratch.pod(scratch_name(made.mark, member.claim))


def _has_clone(made: Goal, observed: Observed, name: str) -> bool:
    seen = observed.scratch.claim(name)
    return seen is not None and seen.made_by == made.mark and seen.status != Claim.TERMINATING


def clone_steps(made: Goal, observed: Observed) -> list[Step]:
    """Make every clone that is not there, all at once."""
    return [
        Step(Action.CLONE, scratch_claim(made.mark, member.claim))
        for member in _members(made)
        if _claim(made, observed, member) is None
    ]


def is_cloned(made: Goal, observed: Observed, ref: Ref) -> bool:
    """The claim is there; with WaitForFirstConsumer its volume is made for its pod only."""
    return _has_clone(made, observed, ref.name)


def uncloneable(made: Goal, observed: Observed) -> str | None:
    """What makes it senseless to go on cloning."""
    lost = [
        str(one.snapshot_ref)
        for one in _members(made)
        if _claim(made, observed, one) is None
        and ((seen := observed.snapshot(one.snapshot)) is None or seen.uid != one.snapshot_uid)
    ]
    told = f"{', '.join(lost)} was deleted" if lost else None
    return _foreign(made, observed) or told or _free_volume(made, observed)


def check_steps(made: Goal, observed: Observed) -> list[Step]:
    """A pod for each clone; and no clone's volume may outlive its claim."""
    pods = [
        Step(Action.CHECK, scratch_pod(made.mark, member.claim))
        for member in _members(made)
        if _pod(made, observed, member) is None and _has_clone(made, observed, scratch_name(made.mark, member.claim))
    ]
    return [*pods, *_let_go(made, observed)]


def _let_go(made: Goal, observed: Observed) -> list[Step]:
    """Of volumes that were made for our own clone, by its uid."""
    return [
        Step(Action.LET_GO, volume.ref, uid=volume.uid)
        for claim in observed.scratch.claims
        if claim.made_by == made.mark
        and (volume := observed.scratch.volume_of(claim.name))
        and volume.is_made_for(claim)
        and volume.phase != Claim.TERMINATING
        and volume.policy != GOES_ALONG
    ]


GOES_ALONG = "Delete"


def has_passed(made: Goal, observed: Observed, ref: Ref) -> bool:
    """The check ended by itself, and well."""
    seen = observed.scratch.pod(ref.name)
    return seen is not None and seen.made_by == made.mark and seen.phase == "Succeeded"


def unchecked(made: Goal, observed: Observed) -> str | None:
    """What makes it senseless to wait: a clone that is gone, or checks that all ended and not all well."""
    gone = [
        name for one in _members(made) if not _has_clone(made, observed, name := scratch_name(made.mark, one.claim))
    ]
    if told := _foreign(made, observed) or (f"{Claim.ref_of(gone[0])} was deleted" if gone else None):
        return told
    if wrong_volume := next(filter(None, (_instead(made, observed, one) for one in _members(made))), None):
        return wrong_volume
    pods = {one.claim: _pod(made, observed, one) for one in _members(made)}
    if not all(pod and pod.phase in ("Succeeded", "Failed") for pod in pods.values()):
        return None
    wrong = [f"{claim}: {_ended_how(pod)}" for claim, pod in pods.items() if pod and pod.phase == "Failed"]
    return f"not every check passed: {'; '.join(wrong)}" if wrong else None


def _instead(made: Goal, observed: Observed, member: Examined) -> str | None:
    """A volume of somebody else's that was bound to the clone's claim: what is in it proves nothing."""
    claim = _claim(made, observed, member)
    volume = observed.scratch.volume_of(claim.name) if claim else None
    if claim is None or volume is None or not volume.claim_uid or volume.is_made_for(claim):
        return None
    return f"{volume.ref} was bound to {claim.ref} and was not made for it: it is left alone, and so is the claim"


def _ended_how(pod: Pod) -> str:
    code = exit_code(pod)
    if pod.reason or code is None:
        return f"the pod was ended ({pod.reason or 'no reason is given'})"
    if code >= SAYS_NOTHING:
        return f"the check could not run or was killed (exit {code})"
    return f"the check failed with exit code {code}"


def exit_code(pod: Pod) -> int | None:
    """Of its one container."""
    return next((one.exit_code for one in pod.containers if one.exit_code is not None), None)


def _foreign(made: Goal, observed: Observed) -> str | None:
    """A name that somebody else took."""
    claims = [one.ref for one in observed.scratch.claims if one.made_by != made.mark]
    pods = [Ref(Kind.POD, one.name) for one in observed.scratch.pods if one.made_by != made.mark]
    return next((f"{ref} was made by somebody else" for ref in (*claims, *pods)), None)


def clean_steps(made: Goal, observed: Observed) -> list[Step]:
    """Pods, then clones: each only when its volume is SEEN to go with it. What others made is left alone."""
    scratch = observed.scratch
    pods = [
        Step(Action.CLEAN, Ref(Kind.POD, one.name), uid=one.uid)
        for one in scratch.pods
        if one.made_by == made.mark and not one.deleting
    ]
    claims = [
        Step(Action.CLEAN, one.ref, uid=one.uid)
        for one in scratch.claims
        if one.made_by == made.mark
        and one.status != Claim.TERMINATING
        and not _is_used(made, scratch, one)
        and _goes_along(scratch, one)
    ]
    return [*pods, *_let_go(made, observed), *claims]


def _is_used(made: Goal, scratch: Scratch, claim: Claim) -> bool:
    """By its own pod: one that has ended holds it, too."""
    pod = scratch.pod(claim.name)
    return pod is not None and pod.made_by == made.mark


def _goes_along(scratch: Scratch, claim: Claim) -> bool:
    """Whether nothing of the clone stays in the storage, and nothing of anybody else's goes."""
    volume = scratch.volume_of(claim.name)
    if volume is None:
        return not claim.volume or claim.status == "Lost"
    return volume.policy == GOES_ALONG and volume.is_made_for(claim)


def is_clean(made: Goal, observed: Observed, ref: Ref) -> bool:
    """Nothing of ours is there under this name, and of a clone no volume either."""
    scratch = observed.scratch
    if ref.kind is Kind.POD:
        pod = scratch.pod(ref.name)
        return pod is None or pod.made_by != made.mark
    claim = scratch.claim(ref.name)
    if claim is not None:
        return claim.made_by != made.mark
    return scratch.volume_of(ref.name) is None


def nothing_hinders(_made: Goal, _observed: Observed) -> None:
    """Whatever somebody did meanwhile, ours has to go."""


def clones_of(made: Goal) -> tuple[Ref, ...]:
    return tuple(scratch_claim(made.mark, one.claim) for one in _members(made))


def pods_of(made: Goal) -> tuple[Ref, ...]:
    return tuple(scratch_pod(made.mark, one.claim) for one in _members(made))


def _checking(made: Goal) -> timedelta:
    largest = max((one.size for one in _members(made)), default=0)
    return CHECKING + PER_GIBIBYTE * (largest // 1024**3)


CLONED = Phase(
    "clones", clone_steps, is_cloned, lambda _goal: WRITING, clones_of, uncloneable, can_turn_back=True, judges_set=True
)
CHECKED = Phase("check", check_steps, has_passed, _checking, pods_of, unchecked, can_turn_back=True, judges_set=True)
CLEANED = Phase(
    "clean",
    clean_steps,
    is_clean,
    lambda _goal: CLEANING,
    lambda made: (*pods_of(made), *clones_of(made)),
    nothing_hinders,
)


def judged(made: Goal, observed: Observed, failure: Outcome | None) -> Verification | None:
    """What is known of the set by now; None while nothing failed and not all was looked at."""
    assert made.verifying
    verdicts = tuple(_verdict(made, observed, member, failure) for member in made.verifying.members)
    if failure is None and any(one.result is not Result.PASSED for one in verdicts):
        return None
    return Verification(made.verifying.set, made.mark, observed.at, verdicts)


def _verdict(made: Goal, observed: Observed, member: Examined, failure: Outcome | None) -> Verdict:
    pod = _pod(made, observed, member)
    if pod is None or pod.made_by != made.mark:
        return _unknown(made, member, failure)
    if pod.phase == "Succeeded":
        return Verdict(member.claim, Result.PASSED, 0)
    code = exit_code(pod)
    if pod.phase == "Failed" and not pod.reason and code is not None and 0 < code < SAYS_NOTHING:
        _, log = _told(made, member, failure)
        return Verdict(member.claim, Result.FAILED, code, _ended_how(pod), log)
    return replace(_unknown(made, member, failure), exit_code=code)


def _unknown(made: Goal, member: Examined, failure: Outcome | None) -> Verdict:
    why, log = _told(made, member, failure)
    because = why or (failure.error if failure else None) or "the check did not begin in time"
    return Verdict(member.claim, Result.NOT_CHECKED, None, because, log)


def _told(made: Goal, member: Examined, failure: Outcome | None) -> tuple[str, tuple[str, ...]]:
    """By the diagnosis, of the member's own pod and clone: reasons, and the last lines of a log."""
    own = {str(scratch_pod(made.mark, member.claim)), str(scratch_claim(made.mark, member.claim))}
    diagnosis = (failure.diagnosis if failure else None) or Diagnosis()
    found = [one for one in diagnosis.findings if one.object in own]
    why = "; ".join(f"{one.reason}: {one.message}" if one.message else one.reason for one in found[:2])
    return why, next((one.log for one in found if one.log), ())


def applied(made: Goal, scratch: Scratch, step: Step) -> Scratch:
    """What is there after Kubernetes accepted the step, for a plan."""
    name = step.ref.name
    match step.action:
        case Action.CLONE:
            return replace(scratch, claims=(*scratch.claims, Claim(name, "", "Pending", made_by=made.mark)))
        case Action.CHECK:
            return replace(scratch, pods=(*scratch.pods, Pod(name, "", "Pending", made_by=made.mark)))
        case Action.LET_GO:
            changed = (replace(one, policy=GOES_ALONG) if one.ref == step.ref else one for one in scratch.volumes)
            return replace(scratch, volumes=tuple(changed))
        case _ if step.ref.kind is Kind.POD:
            return replace(scratch, pods=tuple(one for one in scratch.pods if one.name != name))
        case _:
            return replace(scratch, claims=tuple(one for one in scratch.claims if one.name != name))


def settled(scratch: Scratch) -> Scratch:
    """After every controller did its work and nothing went wrong."""
    pods = tuple(
        one if one.phase == "Failed" else replace(one, phase="Succeeded") for one in scratch.pods if not one.deleting
    )
    claims = tuple(one for one in scratch.claims if one.status != Claim.TERMINATING)
    uids = {one.uid for one in claims}
    volumes = tuple(one for one in scratch.volumes if one.claim_uid in uids or one.policy == Volume.RETAIN)
    return Scratch(claims, volumes, pods, scratch.free)
