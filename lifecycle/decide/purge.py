"""Purge: what of all that is kept may go for good, and why the rest stays. How it goes is in reclaim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lifecycle.decide.sets import SetRecord, doom, drafted, going_of, is_here, quality
from lifecycle.errors import NothingToPurge
from lifecycle.model import Verb
from lifecycle.observed import Observed
from lifecycle.operation import UNMARKED, Goal, Operation
from lifecycle.retention import Doomed, Held, Purging, Quality, Verdict
from lifecycle.topology import arranged
from lifecycle.volumes import Volume

RELEASED = "Released"


@dataclass(frozen=True)
class Stock:
    """What the records say is kept of one cluster.

    ``kept_by`` are the operations that kept volumes: deletes that nobody brought back, and restores in place.
    ``needed`` is as in lifecycle.retention.stale.
    """

    sets: tuple[SetRecord, ...] = ()
    kept_by: tuple[Operation, ...] = ()
    needed: Mapping[str, str] = field(default_factory=dict)
    restoring: frozenset[str] = frozenset()
    """What restores need that have not come to their end, by the id of the operation that kept or took it."""
    kubernetes: str = ""
    """The Kubernetes cluster of the picture."""
    way_back: str = ""
    """The delete whose capture a restore from any set would use: the last one, where the cluster is not back."""


def draft(stock: Stock) -> Goal:
    """All that has to be looked at before anything is said about a purge."""
    ids = {*(one.id for one in stock.sets), *(one.id for one in stock.kept_by)}
    copies = {where for one in stock.sets for where in one.copies}
    copies |= {where for one in stock.kept_by for where in one.goal.copies}
    return Goal(
        verb=Verb.PURGE,
        topology=arranged(()),
        counts={},
        mark=UNMARKED,
        volumes=tuple(volume for one in stock.kept_by for volume in one.goal.volumes),
        purging=Purging(
            doomed=tuple(doomed for one in stock.sets for doomed in drafted(one)),
            captures=tuple(sorted(ids)),
        ),
        copies=tuple(sorted(copies)),
    )


def held(stock: Stock, observed: Observed) -> tuple[Held, ...]:
    """The sets with how good they are in this picture, which is one for the draft."""
    return tuple(Held(one.id, one.begun_at, quality(one, observed), one.pinned, one.claims) for one in stock.sets)


def goal(stock: Stock, observed: Observed, kept_by: Sequence[str], sets: Verdict) -> Goal:
    """What goes of the volumes that these operations kept and of these sets, as seen in this picture for the draft.

    Raises NothingToPurge, with every reason, where nothing may go.
    """
    stays = {f"set {identity}": why for identity, why in sets.stays.items()}
    wanted = [one for one in stock.kept_by if one.id in kept_by]
    guard = _guard(stock, sets.goes)
    volumes: list[Volume] = []
    going: tuple[str, ...] = ()
    for one in wanted:
        if why := _kept_elsewhere(one, stock, observed) or _why_they_stay(one, stock, guard, observed):
            stays[f"what {one.id} kept"] = why
        else:
            going = (*going, one.id)
            volumes += _kept_volumes(one, observed)
    if not any(_needs_set(one) for one in wanted if one.id in going):
        guard = _survivor(stock, sets.goes, observed)
    captures = _captures(stock, going, sets.goes)
    made = replace(
        draft(stock),
        volumes=tuple(volumes),
        parts=tuple(part for part in observed.parts if part.made_by in captures),
        source=going[0] if len(going) == 1 else "",
        kubernetes=stock.kubernetes,
        purging=Purging(
            deletes=going,
            sets=sets.goes,
            doomed=_doomed(stock, sets.goes, observed),
            guard=guard.members if guard else (),
            guard_group=guard.group if guard else None,
            captures=captures,
            stays=stays,
        ),
    )
    if not (going or sets.goes):
        told = " ".join(f"{identity}: {why}." for identity, why in sorted(stays.items()))
        raise NothingToPurge(f"Nothing that is kept may go. {told}" if told else "Nothing is kept, so nothing can go.")
    return made


def _guard(stock: Stock, going: Sequence[str]) -> SetRecord | None:
    """The newest set that was good once; what goes is never it, but for one that was found bad."""
    recorded = [one for one in stock.sets if not one.failed and one.id not in going]
    return max(recorded, key=lambda one: (one.begun_at, one.id), default=None)


def _survivor(stock: Stock, going: Sequence[str], observed: Observed) -> SetRecord | None:
    """The newest good set that stays where others go: it has to stay good until they are gone."""
    good = [one for one in stock.sets if one.id not in going and quality(one, observed) is Quality.GOOD]
    return max(good, key=lambda one: (one.begun_at, one.id), default=None) if going else None


def _needs_set(by: Operation) -> bool:
    """Whether it was approved as one that has a snapshot set beside the kept volumes."""
    return by.goal.cutting is not None and bool(by.goal.cutting.members)


def _unguarded(by: Operation, guard: SetRecord | None, observed: Observed) -> str | None:
    """Why its volumes stay: they are the only good copy, and it was not approved so."""
    if not _needs_set(by):
        return None
    if guard is None:
        return "the cluster has no snapshot set, so the kept volumes are the only copy"
    if quality(guard, observed) is not Quality.GOOD:
        told = "has failed its restore test" if guard.is_bad else "is not whole any more"
        return f"the cluster's newest snapshot set {guard.id} {told}, so the kept volumes stay"
    assert by.goal.cutting
    if lacking := {member.claim for member in by.goal.cutting.members} - guard.claims:
        return f"the cluster's newest snapshot set {guard.id} is without {', '.join(sorted(lacking))}"
    return None


def needed(stock: Stock, observed: Observed) -> Mapping[str, str]:
    """As the stock has it, and besides, what nothing can be concluded of in this picture."""
    found = ((one.id, _taken_elsewhere(one, stock, observed)) for one in stock.sets)
    return {**stock.needed, **{identity: why for identity, why in found if why}}


def _taken_elsewhere(record: SetRecord, stock: Stock, observed: Observed) -> str | None:
    return _elsewhere(record.kubernetes, stock.kubernetes, is_here=is_here(record, observed))


def _kept_elsewhere(by: Operation, stock: Stock, observed: Observed) -> str | None:
    found = ((one, observed.volume(one.name)) for one in by.goal.volumes)
    is_here = any(seen and seen.uid == one.uid for one, seen in found)
    return _elsewhere(by.goal.kubernetes, stock.kubernetes, is_here=is_here)


def _elsewhere(kept_in: str, looked_at: str, *, is_here: bool) -> str | None:
    """Why nothing that is missing is gone. Where nobody wrote down where it is, an object with its uid tells."""
    if not kept_in:
        return None if is_here else "nobody knows in which Kubernetes cluster it is, and nothing of it is in this one"
    return None if kept_in == looked_at else "it is in another Kubernetes cluster than this context means"


def _why_they_stay(by: Operation, stock: Stock, guard: SetRecord | None, observed: Observed) -> str | None:
    return _awaited(by, stock) or _withheld(by, observed) or _unguarded(by, guard, observed)


def _awaited(by: Operation, stock: Stock) -> str | None:
    return "a restore that needs it has not come to its end" if by.id in stock.restoring else None


def is_gone(by: Operation, stock: Stock, observed: Observed) -> bool:
    """Whether nothing of what it kept is left to purge, as SEEN: each volume is not there, or not its own any more."""
    if _kept_elsewhere(by, stock, observed):
        return False
    found = ((one, observed.volume(one.name)) for one in by.goal.volumes)
    return all(seen is None or (seen.uid == one.uid and _is_anothers(by, seen)) for one, seen in found)


def _is_anothers(by: Operation, seen: Volume) -> bool:
    """In use again, or kept by a later operation, which found it bound."""
    return seen.phase == "Bound" or seen.kept_by not in ("", by.id)


def _withheld(by: Operation, observed: Observed) -> str | None:
    """Why none of its volumes goes: somebody uses one again, or may."""
    for volume in by.goal.volumes:
        seen = observed.volume(volume.name)
        if seen is None or seen.uid != volume.uid or seen.kept_by != by.id:
            continue  # gone, given back, or another operation's by now: nothing of it is touched
        if is_claimed(volume, observed):
            return f"a claim {volume.claim} is there again"
        if why := in_use(volume, seen):
            return why
        if not seen.policy_before:
            return f"nobody knows which reclaim policy {volume.name} had"
    return None


def is_claimed(volume: Volume, observed: Observed) -> bool:
    """Whether a claim of its name may be bound to it: one that names another volume never is (immutable)."""
    claim = observed.claim(volume.claim)
    named = any(one.volume == volume.name for one in observed.claims)
    return named or (claim is not None and claim.volume in ("", volume.name))


def in_use(frozen: Volume, seen: Volume) -> str | None:
    if seen.claim != frozen.claim or seen.claim_uid != frozen.claim_uid:
        return f"volume {frozen.name} is for another claim now"
    return None if seen.phase == RELEASED else f"volume {frozen.name} is {seen.phase}"


def _kept_volumes(by: Operation, observed: Observed) -> list[Volume]:
    """As they are seen: with the mark and the policy of before."""
    found = ((one, observed.volume(one.name)) for one in by.goal.volumes)
    return [seen for one, seen in found if seen and seen.uid == one.uid and seen.kept_by == by.id]


def _doomed(stock: Stock, going: Sequence[str], observed: Observed) -> tuple[Doomed, ...]:
    found = (
        doom(record, member, observed)
        for record in stock.sets
        if record.id in going
        for member in going_of(record, observed)
    )
    return tuple(one for one in found if one.refs)


def _captures(stock: Stock, kept_by: Sequence[str], sets: Sequence[str]) -> tuple[str, ...]:
    """Those with which nothing is left that could be brought back."""
    needed = {one.id for one in stock.sets if one.id not in sets} | {
        one.id for one in stock.kept_by if one.id not in kept_by
    }
    if any(not one.failed and one.id not in sets for one in stock.sets):
        needed.add(stock.way_back)
    return tuple(sorted({*kept_by, *sets} - needed))
