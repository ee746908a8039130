"""Start of what a stop with --remove took away: the captured objects at zero, then up, on the claims that stayed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lifecycle.decide import restore, start
from lifecycle.decide.delete import WRITING
from lifecycle.decide.preflight import refuse_unsafe_scaling
from lifecycle.decide.remove import lost_claims
from lifecycle.errors import AlreadyRunning, CountsUnknown, Unsafe
from lifecycle.model import Action, Component, Ref, Step, Verb
from lifecycle.observed import Difference, Observed, Part
from lifecycle.operation import UNMARKED, Goal, Operation, Source
from lifecycle.phase import Phase, strangers, strangers_or_losses
from lifecycle.topology import Topology
from lifecycle.volumes import Claim
from lifecycle.workloads import Owner, Workload

SHOWN = 5
"""Fields of one object that are named; the rest is counted."""


def draft(removal: Operation) -> Goal:
    """What has to be looked at before anything is said about a start."""
    before = removal.goal
    return Goal(
        verb=Verb.RETURN,
        topology=before.topology,
        counts=before.counts,
        sources=dict.fromkeys(before.counts, Source.TAKEN),
        claims=before.claims,
        mark=UNMARKED,
        parts=tuple(sorted((*before.parts, *before.staying), key=lambda part: part.ref)),
        source=removal.id,
        mode=before.mode,
    )


def missing(removal: Operation, observed: Observed) -> tuple[Ref, ...]:
    """What of it is not there, by its name; ``observed`` is the picture for the draft."""
    return tuple(ref for ref in _objects_of(removal) if not _is_there(observed, ref))


def present(removal: Operation, observed: Observed) -> tuple[Ref, ...]:
    """What has to be compared."""
    return tuple(ref for ref in _objects_of(removal) if _is_there(observed, ref))


def _objects_of(removal: Operation) -> tuple[Ref, ...]:
    """Workloads first: people know them by name."""
    wanted = draft(removal)
    return (*(workload.ref for workload in wanted.topology), *(part.ref for part in wanted.parts))


def _is_there(observed: Observed, ref: Ref) -> bool:
    return observed.state_of(ref).exists or observed.part(ref) is not None


def goal(
    removal: Operation,
    observed: Observed,
    typed: Mapping[Component, int],
    owners: Mapping[Ref, tuple[Owner, ...]],
    overwritten: Sequence[Difference] = (),
) -> Goal:
    """What it takes to run what the operation ``removal`` took away, wholly or in part.

    ``observed`` is the picture for the draft, ``owners`` are those of the replica counts by now, ``overwritten`` is
    what is there otherwise than captured and is to be as captured. Raises AlreadyRunning where all of it is there and
    ready, CountsUnknown, Unsafe where something stands in the way.
    """
    wanted = draft(removal)
    if not observed.capture:
        raise Unsafe(f"the capture of {removal.id} is not there, or not whole: nothing says how the cluster was")
    _refuse_lost(observed)
    _refuse_overwriting(observed, overwritten)
    topology = Topology(tuple(_adopted(one, observed, owners.get(one.ref, ())) for one in wanted.topology))
    start.refuse_contradiction(topology, observed, typed)
    counted = {one.ref: _count_of(one, removal.goal, observed, typed) for one in topology}
    to_run = [one for one in topology if counted[one.ref][0]]
    refuse_unsafe_scaling(one for one in to_run if not observed[one].is_up)
    made = replace(
        wanted,
        topology=topology,
        counts={ref: count for ref, (count, _) in counted.items()},
        sources={ref: source for ref, (_, source) in counted.items()},
        claims=observed.claims,
        parts=tuple(_as_found(part, observed) for part in wanted.parts),
        left=tuple(one.ref for one in topology if one not in to_run),
        absent=_emptied(removal.goal, observed),
        unverified=removal.goal.mode == "untethered" and _sql_pods(topology, counted) > 1,
        overwritten=tuple(sorted(one.ref for one in overwritten)),
        captured=observed.capture,
    )
    if not making_steps(made, observed) and all(start.ready(made, observed, one.ref) for one in to_run):
        raise AlreadyRunning("already running")
    return made


def _adopted(workload: Workload, observed: Observed, owners: tuple[Owner, ...]) -> Workload:
    """One that somebody made in its place since is started, and it alone."""
    return replace(workload, uid=observed[workload].uid or workload.uid, owners=owners)


def _as_found(part: Part, observed: Observed) -> Part:
    seen = observed.part(part.ref)
    return replace(part, uid=seen.uid) if seen else part


def _count_of(
    workload: Workload, before: Goal, observed: Observed, typed: Mapping[Component, int]
) -> tuple[int, Source]:
    """How many replicas it is to have, and who says so.

    What was at zero beside others that ran stays so; a cluster that was stopped comes back as before that.
    """
    ref = workload.ref
    candidates = (
        (observed[workload].replicas or None, Source.RUNNING),
        (typed.get(workload.component), Source.TYPED),
        (before.counts[ref] or None, Source.TAKEN),
        (None if before.ran else before.resting.get(ref), Source.REMEMBERED),
        (0 if before.ran or workload.component is Component.REPORTING else None, Source.TAKEN),
    )
    found = next(((count, source) for count, source in candidates if count is not None), None)
    if found is None:
        raise CountsUnknown(
            f"nobody remembers how many replicas {ref} had: it was at zero already when it was removed. "
            f"Say it: add `{workload.component}=N` to the command."
        )
    return found


def _sql_pods(topology: Topology, counted: Mapping[Ref, tuple[int, Source]]) -> int:
    return sum(counted[one.ref][0] for one in topology if one.component is Component.SQL)


def _refuse_lost(observed: Observed) -> None:
    for claim in observed.claims:
        if claim.status in ("Lost", Claim.TERMINATING):
            raise Unsafe(f"claim {claim.name} is {claim.status}. Look at it first: a start would find no data")


def _emptied(before: Goal, observed: Observed) -> tuple[str, ...]:
    """Claims that held data and do not any more: a person has to want what starts without."""
    told = []
    for claim in before.claims:
        now = observed.claim(claim.name)
        if claim.volume and now is None:
            told.append(f"claim {claim.name} is gone since: its StatefulSet makes an EMPTY one")
        elif claim.volume and now and now.volume != claim.volume:
            told.append(f"claim {claim.name} has another volume than before: {now.volume or 'none yet'}")
    return tuple(told)


def _refuse_overwriting(observed: Observed, differences: Sequence[Difference]) -> None:
    for one in differences:
        if one.fixed:
            raise Unsafe(
                f"{one.ref} differs from what was captured in {_listed(one.fixed)}, which Kubernetes lets nobody "
                f"change, so it is not overwritten. Remove it by hand if nobody needs it (kubectl delete {one.ref}), "
                "and it is made as captured; or leave `--overwrite` out"
            )
        if observed.state_of(one.ref).is_present:
            raise Unsafe(
                f"{one.ref} runs, and is not overwritten under its pods. Stop the cluster first, or leave "
                "`--overwrite` out"
            )


def told(difference: Difference) -> str:
    """In words, without what stands in the fields."""
    return f"{difference.ref} is not as captured: {_listed(difference.fields)}"


def _listed(fields: Sequence[str]) -> str:
    more = f" and {len(fields) - SHOWN} more" if len(fields) > SHOWN else ""
    return f"{', '.join(fields[:SHOWN])}{more}"


def making_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Make what is not there, at zero; what is there changes only where somebody said so."""
    again = [ref for ref in goal.overwritten if _is_there(observed, ref) and not made(goal, observed, ref)]
    return [
        *restore.making_steps(goal, observed),
        *(Step(Action.OVERWRITE, ref, uid=_uid_of(goal, observed, ref)) for ref in again),
    ]


def _uid_of(goal: Goal, observed: Observed, ref: Ref) -> str:
    """Of what is there and may be written to."""
    if ref in goal.counts:
        return goal.uid_of(goal.topology[ref], observed)
    return next(part.uid for part in goal.parts if part.ref == ref)


def made(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """It is there: made here or earlier from the capture, or found when this began; and written anew where asked."""
    if ref in goal.overwritten and _writer_of(observed, ref) != goal.mark:
        return False
    return restore.made(goal, observed, ref)


def _writer_of(observed: Observed, ref: Ref) -> str:
    part = observed.part(ref)
    return part.written_by if part else observed.state_of(ref).written_by


def foreign(goal: Goal, observed: Observed) -> str | None:
    """What somebody else made, or put in the place of what was there, since this began."""
    others = [part.ref for part in goal.parts if observed.part(part.ref) and not restore.made(goal, observed, part.ref)]
    names = ", ".join(map(str, others))
    told = f"made by somebody else since this start began: {names}. The same command again compares it first"
    return strangers(goal, observed) or (told if names else None) or lost_claims(goal, observed)


def losses(goal: Goal, observed: Observed) -> str | None:
    """What somebody removed while the cluster starts."""
    return strangers_or_losses(goal, observed) or lost_claims(goal, observed)


MADE = Phase("make", making_steps, made, lambda _goal: WRITING, restore.made_objects, foreign)
UP = replace(start.UP, obstacle=losses)
