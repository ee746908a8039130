"""A cluster that does what it is told: the decisions run forward on it until nothing is left to do."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from lifecycle.decide import phases_of, quiescing, rebind, snapshot, verify
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.observed import Observed, Part
from lifecycle.operation import Goal
from lifecycle.phase import Phase
from lifecycle.quiescing import Quiescing, Stage
from lifecycle.retention import OF_SETS
from lifecycle.snapshots import Clone, Member, group_name, name_of
from lifecycle.volumes import Claim, Content, GroupSnapshot, Snapshot, Volume
from lifecycle.workloads import WorkloadState


def all_waves(goal: Goal, observed: Observed) -> tuple[tuple[Step, ...], ...]:
    """Phase after phase, each on the picture that the one before leaves."""
    done: list[tuple[Step, ...]] = []
    for phase in phases_of(goal):
        found, observed = run_forward(phase, goal, observed)
        done += found
    return tuple(done)


def waves(phase: Phase, goal: Goal, observed: Observed) -> list[tuple[Step, ...]]:
    """The steps of one phase, and of no other."""
    return run_forward(phase, goal, observed)[0]


def run_forward(phase: Phase, goal: Goal, observed: Observed) -> tuple[list[tuple[Step, ...]], Observed]:
    """Decide, apply, settle, and again; ends because every applied step brings its object closer to the end."""
    done: list[tuple[Step, ...]] = []
    picture = settled(observed)
    while steps := phase.decide(goal, picture):
        done.append(tuple(sorted(steps)))
        picture = settled(applied(goal, picture, steps))
    return done, picture


def applied(goal: Goal, observed: Observed, steps: Iterable[Step]) -> Observed:
    """The picture after Kubernetes accepted these steps, before any controller saw them."""
    for step in steps:
        observed = _after(goal, observed, step)
    return observed


def _after(goal: Goal, observed: Observed, step: Step) -> Observed:
    match step.action:
        case Action.SCALE_TO_ZERO | Action.SCALE_UP | Action.ROLLOUT_RESTART:
            return observed.with_state(step.ref, _accepted(observed.state_of(step.ref), step, goal))
        case Action.FLUSH:
            return observed.with_state(step.ref, replace(observed.state_of(step.ref), flushed_by=goal.mark))
        case Action.CAPTURE:
            return replace(observed, capture=goal.mark, lacking=())
        case Action.LABEL:
            claims = (replace(one, grouped_by=goal.mark) if one.ref == step.ref else one for one in observed.claims)
            return replace(observed, claims=tuple(claims))
        case Action.CUT if step.ref.kind is Kind.GROUP:
            return _cut_together(goal, observed)
        case Action.RETAIN if step.ref.kind is Kind.GROUP:
            return replace(observed, groups=tuple(replace(one, policy=Volume.RETAIN) for one in observed.groups))
        case Action.CUT:
            cut = _cut(goal, observed, _member(goal, step.ref.name))
            return replace(observed, snapshots=(*observed.snapshots, cut))
        case Action.QUIESCE if not quiescing.is_held(goal, observed):
            return _quiesced(goal, run_forward(snapshot.cutting_of(goal), goal, observed)[1], step, Stage.QUIESCED)
        case Action.QUIESCE | Action.RESUME:
            return _quiesced(goal, observed, step, Stage.NOT_QUIESCED)
        case Action.RETAIN:
            return replace(observed, snapshots=tuple(_retained(goal, one, step) for one in observed.snapshots))
        case Action.REMOVE:
            return _without_snapshot(observed, step.ref) if step.ref.kind in OF_SETS else _without(observed, step.ref)
        case Action.RELEASE:
            return replace(
                observed,
                contents=tuple(_freed(one, step) for one in observed.contents),
                group_contents=tuple(_freed(one, step) for one in observed.group_contents),
            )
        case Action.MAKE:
            return _with_made(goal, observed, step.ref)
        case Action.OVERWRITE:
            return _with_written(goal, observed, step.ref)
        case Action.GIVE_UP if observed.volume(step.ref.name) and _goes(goal, step):
            return replace(observed, volumes=tuple(one for one in observed.volumes if one.ref != step.ref))
        case Action.KEEP | Action.REBIND | Action.GIVE_BACK | Action.GIVE_UP:
            changed = (_rewritten(goal, one, step) if one.ref == step.ref else one for one in observed.volumes)
            return replace(observed, volumes=tuple(changed))
        case Action.CLONE | Action.CHECK | Action.LET_GO | Action.CLEAN:
            return replace(observed, scratch=verify.applied(goal, observed.scratch, step))


def _accepted(state: WorkloadState, step: Step, goal: Goal) -> WorkloadState:
    newer = replace(state, generation=state.generation + 1)
    match step.action:
        case Action.SCALE_TO_ZERO:
            return replace(newer, replicas=0, remembered=step.replicas)
        case Action.SCALE_UP:
            return replace(newer, replicas=step.replicas)
        case _:
            return replace(newer, restarted_by=goal.mark, updated=0)


def _quiesced(goal: Goal, observed: Observed, step: Step, stage: Stage) -> Observed:
    state = replace(observed.state_of(step.ref), quiescing=Quiescing(goal.mark, stage))
    return observed.with_state(step.ref, state)


def _member(goal: Goal, claim: str) -> Member:
    member = goal.cutting.member(claim) if goal.cutting else None
    assert member, f"{claim} is none of the set"
    return member


def _cut(goal: Goal, observed: Observed, member: Member) -> Snapshot:
    """As the controllers leave it: of what storage makes of it, nothing matters to what comes after."""
    return Snapshot(
        name=name_of(goal.mark, member.claim),
        uid="",
        claim=member.claim,
        made_by=goal.mark,
        cut_at=observed.at,
        is_ready=True,
        content="content",
        policy=member.policy,
        handle="handle",
        driver=member.driver,
        size=1,
    )


def _cut_together(goal: Goal, observed: Observed) -> Observed:
    assert goal.cutting
    name, policy = group_name(goal.mark), goal.cutting.members[0].policy
    group = GroupSnapshot(
        name, "", "", goal.mark, observed.at, is_ready=True, content="content", policy=policy, handle="handle"
    )
    members = (replace(_cut(goal, observed, one), group=name) for one in goal.cutting.members)
    return replace(observed, groups=(group,), snapshots=(*observed.snapshots, *members))


def _goes(goal: Goal, step: Step) -> bool:
    """Whether the volume goes as soon as it has its policy of before."""
    return any(one.ref == step.ref and one.policy_before == "Delete" for one in goal.volumes)


AnyContent = TypeVar("AnyContent", bound=Content)


def _freed(content: AnyContent, step: Step) -> AnyContent:
    return replace(content, policy="Delete") if content.ref == step.ref else content


def _without_snapshot(observed: Observed, ref: Ref) -> Observed:
    """A snapshot takes its content along where that lets its bytes go, a group its members with theirs."""
    gone = {ref, *(one.ref for one in observed.members(ref.name) if ref.kind is Kind.GROUP)}
    names = {one.name for one in gone}

    def goes(content: Content) -> bool:
        return content.ref in gone or (content.snapshot in names and content.policy == "Delete")

    return replace(
        observed,
        snapshots=tuple(one for one in observed.snapshots if one.ref not in gone),
        contents=tuple(one for one in observed.contents if not goes(one)),
        groups=tuple(one for one in observed.groups if one.ref not in gone),
        group_contents=tuple(one for one in observed.group_contents if not goes(one)),
    )


def _retained(goal: Goal, snapshot: Snapshot, step: Step) -> Snapshot:
    is_meant = (snapshot.made_by, snapshot.claim) == (goal.mark, step.ref.name)
    return replace(snapshot, policy=Volume.RETAIN) if is_meant else snapshot


def _without(observed: Observed, ref: Ref) -> Observed:
    workloads = {other: state for other, state in observed.workloads.items() if other != ref}
    return replace(
        observed,
        workloads=workloads,
        claims=tuple(claim for claim in observed.claims if claim.ref != ref),
        parts=tuple(part for part in observed.parts if part.ref != ref),
    )


def _with_made(goal: Goal, observed: Observed, ref: Ref) -> Observed:
    """Made from the capture: workloads at zero, claims bound to their volume."""
    if lost := rebind.clone_of(goal, ref):
        return _with_rebound(goal, observed, ref, lost)
    if ref in goal.counts:
        remembered = goal.counts[ref] or None
        fresh = WorkloadState(uid="", made_by=goal.source, written_by=goal.mark, remembered=remembered)
        return observed.with_state(ref, fresh)
    if goal.clone(ref.name) and ref.kind is Kind.CLAIM:
        return replace(observed, claims=(*observed.claims, Claim(ref.name, "", "Pending", made_by=goal.cloned_by)))
    if ref.kind is Kind.CLAIM:
        volume = next(volume for volume in goal.volumes if volume.claim == ref.name)
        claim = Claim(ref.name, "", "Bound", volume.name, made_by=goal.source)
        return replace(observed, claims=(*observed.claims, claim))
    return replace(observed, parts=(*observed.parts, Part(ref, "", made_by=goal.source, written_by=goal.mark)))


def _with_rebound(goal: Goal, observed: Observed, ref: Ref, lost: Clone) -> Observed:
    """A content for the data of a set's member, or the snapshot on it."""
    if ref.kind is Kind.CONTENT:
        content = Content(ref.name, "", Volume.RETAIN, lost.snapshot, handle=lost.handle, driver=lost.driver)
        return replace(observed, contents=(*observed.contents, content))
    snapshot = Snapshot(
        name=ref.name,
        uid="",
        claim=lost.claim,
        made_by=goal.chosen,
        is_ready=True,
        content=rebind.content_of(goal, lost).name,
        policy=Volume.RETAIN,
        handle=lost.handle,
        driver=lost.driver,
    )
    return replace(observed, snapshots=(*observed.snapshots, snapshot))


def _with_written(goal: Goal, observed: Observed, ref: Ref) -> Observed:
    """As captured again: the same object, with the marks of this operation."""
    if ref in goal.counts:
        return observed.with_state(ref, replace(observed.state_of(ref), written_by=goal.mark))
    parts = (replace(one, written_by=goal.mark) if one.ref == ref else one for one in observed.parts)
    return replace(observed, parts=tuple(parts))


def _rewritten(goal: Goal, volume: Volume, step: Step) -> Volume:
    match step.action:
        case Action.KEEP:
            before = volume.policy_before if volume.kept_by else volume.policy
            return replace(volume, policy=Volume.RETAIN, kept_by=goal.mark, policy_before=before)
        case Action.REBIND:
            return replace(volume, claim_uid="")
        case _:
            return replace(volume, policy=volume.policy_before, kept_by="", policy_before="")


def settled(observed: Observed) -> Observed:
    """The picture after every controller did its work and nothing went wrong."""
    claims = {claim.name: _bound(claim) for claim in observed.claims if claim.status != Claim.TERMINATING}
    return replace(
        observed,
        volumes=tuple(_held_or_released(volume, claims) for volume in observed.volumes),
        workloads={ref: _at_rest(state) for ref, state in observed.workloads.items()},
        claims=tuple(claims.values()),
        scratch=verify.settled(observed.scratch),
    )


def _bound(claim: Claim) -> Claim:
    """A claim that names no volume waits for its pod."""
    return replace(claim, status="Bound" if claim.volume else claim.status, mounted_by=())


def _held_or_released(volume: Volume, claims: dict[str, Claim]) -> Volume:
    claim = claims.get(volume.claim)
    if claim and claim.volume == volume.name and volume.claim_uid in ("", claim.uid):
        return replace(volume, phase="Bound", claim_uid=claim.uid)
    return replace(volume, phase="Released") if volume.claim_uid else volume


def _at_rest(state: WorkloadState) -> WorkloadState:
    return replace(
        state,
        observed_generation=state.generation,
        status_replicas=state.replicas,
        ready=state.replicas,
        updated=state.replicas,
        available=state.replicas,
        revision_settled=True,
        pods=(),
    )
