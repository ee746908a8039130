"""Whether a cluster that runs also has its API configuration: pods that are ready do not show it."""

from collections.abc import Iterable

from lifecycle.model import Component, Verb
from lifecycle.operation import Goal, Operation, State
from lifecycle.snapshots import Clone
from lifecycle.volumes import Claim

CHECKED = frozenset({Verb.START, Verb.RETURN, Verb.RESTORE, Verb.RESTORE_IN_PLACE})
"""What the configured check is run after."""
NOT_SEEN = "running, configuration NOT seen"
"""The end of a start or a restore until the check has passed."""


def unseen(goal: Goal, claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """Of the claims at an operation's end, those of sql on which nobody has seen the configuration: new, so empty."""
    known = {claim.uid for claim in goal.claims} | {clone.uid for clone in goal.clones}
    known -= set(goal.doubted)
    return tuple(claim for claim in claims if _is_of_sql(goal, claim) and _origin(goal, claim) not in known)


def _is_of_sql(goal: Goal, claim: Claim) -> bool:
    return any(one.component is Component.SQL and one.owns_claim(claim.name) for one in goal.topology)


def _origin(goal: Goal, claim: Claim) -> str:
    """The uid of what its bytes are from: a restore makes a new claim for an old volume, or of a snapshot."""
    clone = goal.clone(claim.name)
    if clone and claim.made_by == goal.cloned_by:
        return clone.uid
    kept = next((one for one in goal.volumes if goal.source and one.name == claim.volume), None)
    return kept.claim_uid if kept and kept.claim == claim.name else claim.uid


def doubted(last: Operation | None, claims: Iterable[Claim]) -> tuple[str, ...]:
    """The uids of the claims of sql that are new since the cluster's last operation, or that it left unseen.

    Without an earlier operation nothing is known of them, and nothing is doubted.
    """
    if last is None:
        return ()
    ended = last.outcome.claims if last.outcome and last.outcome.claims else last.goal.claims
    left = set() if _has_seen(last) else {claim.uid for claim in unseen(last.goal, ended)}
    recorded = {claim.uid for claim in (*last.goal.claims, *ended)}
    return tuple(
        sorted(
            claim.uid
            for claim in claims
            if _is_of_sql(last.goal, claim) and (claim.uid in left or (claim.uid not in recorded and not claim.made_by))
        )
    )


def doubted_clones(clones: Iterable[Clone], by: Operation) -> tuple[str, ...]:
    """The uids of the snapshots that ``by`` cut of claims that were doubted then: they are as empty."""
    doubts = {claim.name for claim in by.goal.claims if claim.uid in by.goal.doubted}
    return tuple(clone.uid for clone in clones if clone.claim in doubts)


def _has_seen(operation: Operation) -> bool:
    checked = operation.outcome.checked if operation.outcome else None
    return checked is not None and checked.is_seen


def is_due(goal: Goal, claims: Iterable[Claim]) -> bool:
    """Whether an operation's end has to say if the configuration is there."""
    if goal.verb in (Verb.START, Verb.RETURN):
        return bool(unseen(goal, claims))
    return goal.verb in CHECKED and goal.ran


def is_missed(operation: Operation) -> bool:
    """Whether it ended well, but for the configuration, which was not seen, and has not been since."""
    checked = operation.outcome.checked if operation.outcome else None
    return operation.state is State.DONE and checked is not None and not checked.is_seen
