"""Every view there is."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from bot.access import Role, Undecided
from bot.cancelling import StillEnding
from bot.outcome import ApprovedNotBegun, CancelledNotBegun, Overtaken
from bot.overview import Hidden
from bot.reception import Restarting, TooMany
from bot.views import answers, kept, operation, removals, snapshots, thread
from bot.views import approval as cards
from bot.views import hold as holds
from bot.views.blocks import Message
from lifecycle import approval, errors
from lifecycle.approval import ApprovalState
from lifecycle.checks import Checked
from lifecycle.diagnosis import Diagnosis, Traffic
from lifecycle.hold import ClusterHeld, NotHeld
from lifecycle.model import Kind, Ref, Verb
from lifecycle.observed import Address
from lifecycle.operation import Cancellation, Operation, Outcome, State
from lifecycle.plain import to_plain
from lifecycle.verification import Leftover
from lifecycle.volumes import Claim
from lifecycle.workloads import Exit
from storage import proposals
from storage.retention import NoSuchSet, NothingToExtend, Records
from tests.bot.views.world import LATER, World, recorded
from tests.fakes import values

ENDS = 4
"""The entries that tell of the end: only they read otherwise when it came."""
LINK = "https://tml.slack.com/archives/C0PROD/p1?thread_ts=1.1&cid=C0PROD"


def views(world: World) -> Iterator[tuple[str, Message]]:
    """Every view there is."""
    yield from operation_views(world)
    yield from approval_views(world)
    yield from refusals(world)
    yield from kept_views(world)
    yield from plan_views(world)
    yield from hot_views(world)
    yield from removal_views(world)
    yield from answer_views(world)
    yield from cancel_views(world)
    yield from hold_views(world)


def plan_views(world: World) -> Iterator[tuple[str, Message]]:
    for verb in Verb:
        made, proposal = world.plan(verb), world.proposal(verb)
        yield f"{verb.words} prod?", answers.card(proposal, made, changed=False)
        yield f"{verb.words} prod?", answers.card(proposal, made, changed=True)
        yield f"plan to {verb.words} prod", answers.plan("prod", made)
        yield f"{operation.DOING[verb]} prod (op-", answers.begun(world.operation(verb))


def hot_views(world: World) -> Iterator[tuple[str, Message]]:
    for is_group in (True, False):
        made = world.hot_plan(is_group=is_group)
        yield "plan to snapshot prod", answers.plan("prod", made)
        asked = (world.proposal(Verb.SNAPSHOT), made)
        yield "Snapshot prod: hot or cold?", snapshots.choice(asked, (asked[0], world.plan(Verb.SNAPSHOT)), None)
        running = replace(world.operation(Verb.SNAPSHOT), goal=made.goal.marked("op-000001"))
        held = Outcome(State.DONE, by_hand=(world.word,))
        done = replace(running, state=State.DONE, outcome=held, ended_at=LATER)
        yield "Cut a snapshot set of prod", operation.live(done, [])
        for end in (
            recorded(9, "finished", {}),
            *(recorded(8, "snapshot-set", to_plain(one.content)) for one in world.kept()),
        ):
            yield "Cut a snapshot set of prod", thread.thread(done, [end]) or {}
        for back_up in (True, False):
            outcome = Outcome(State.FAILED, error=world.word, back_up=back_up, by_hand=(world.word,))
            failed = replace(
                running, phase="after", state=State.FAILED, failure=outcome, outcome=outcome, ended_at=LATER
            )
            yield "FAILED to snapshot prod", operation.live(failed, [])
            turned = recorded(7, "turned-back", {"failure": to_plain(outcome)})
            yield "FAILED to snapshot prod", thread.thread(failed, [turned, recorded(9, "finished", {})]) or {}


def removal_views(world: World) -> Iterator[tuple[str, Message]]:
    stopped = world.stop_that_removed()
    refs = tuple(one.ref for one in stopped.goal.topology)
    yield "prod is stopped and removed", removals.removed(stopped, world.emptied(), refs)
    unwritten = replace(world.emptied(), capture="", claims=world.volumes("Lost")[1:])
    yield "prod is stopped and removed", removals.removed(stopped, unwritten, ())
    for last_known in (None, stopped):
        yield "prod is removed, and not", removals.taken_by_hand("prod", world.volumes("Lost"), last_known)
    yield "prod is half removed", answers.status("prod", world.status(absent=(world.word,), drift=(world.word,)), None)
    yield "prod: stopping and removing now", removals.under_way(world.operation(Verb.REMOVE))
    yield "prod is half removed", answers.status("prod", world.status(absent=(world.word,), last=stopped), None)
    half = world.failed(Verb.RETURN)
    yield "prod is half removed", answers.status("prod", world.status(absent=(world.word,), last=half), None)


def answer_views(world: World) -> Iterator[tuple[str, Message]]:
    running, last = world.operation(Verb.START), world.failed(Verb.STOP, error=world.word)
    yield "prod is partly up", answers.status("prod", world.status(), None)
    yield "prod is partly up", answers.status("prod", world.status(running=running), LINK)
    yield "prod is partly up", answers.status("prod", world.status(running=running), None)
    unwell = world.status(last=last, drift=(world.word, world.word), diagnosis=world.diagnosis)
    yield "prod is partly up", answers.status("prod", unwell, None)
    rows = [(one, LINK if number % 2 else None) for number, (_, one) in enumerate(outcomes(world))][:10]
    yield "history of prod", answers.history("prod", rows)
    yield "history of all clusters", answers.history(None, [])
    glances = [
        answers.Glance("prod", world.word, world.word, *pair) for pair in ((running, None), (None, last), (None, None))
    ]
    yield "clusters", answers.clusters(glances * 20)
    yield "there is no cluster", answers.clusters([])
    yield "you are U0ALICE", answers.whoami(values.ALICE, {"prod": Role.OPERATOR, "dev": Role.VIEWER, "x": None})
    yield "what /tml understands", answers.usages()
    yield "left as it is", answers.dismissed()
    yield "Kubernetes does not answer", answers.unreachable(errors.Retryable(world.word))
    yield "Kubernetes does not let", answers.unreachable(errors.Forbidden(world.word))
    yield "the bot's database", answers.unrecorded()
    yield "this went wrong", answers.broken()


def operation_views(world: World) -> Iterator[tuple[str, Message]]:
    for _, one in outcomes(world):
        lead = {
            State.RUNNING: f"{operation.DOING[one.verb]} prod",
            State.DONE: f"{operation.DONE[one.verb]} prod",
            State.FAILED: f"FAILED to {one.verb.words} prod",
        }[one.state]
        entries = world.entries(one)
        yield lead, operation.live(one, entries)
        yield lead, operation.bare(one)
        told = entries if one.state is State.RUNNING else entries[-ENDS:]
        for part in (told[n : n + 20] for n in range(0, len(told), 20)):
            if reply := thread.thread(one, part):
                yield lead, reply
    for back_up in (True, False, None):
        ended = replace(world.failed(Verb.VERIFY, error=world.word, back_up=back_up), phase="clean")
        yield "FAILED to verify prod", thread.thread(ended, [recorded(9, "finished", {})]) or {}


def hold_views(world: World) -> Iterator[tuple[str, Message]]:
    made, ended = world.hold, replace(world.hold, released_at=LATER, released_by=values.ALICE)
    yield "prod is held: ", holds.live(made)
    yield "prod is no longer held: ", holds.live(ended)
    yield "prod is no longer held: ", holds.thread(ended, [recorded(3, "released", {})]) or {}
    assert holds.thread(made, [recorded(2, "held", {"reason": world.word})]) is None
    yield "prod is held (ho-", holds.held(made, None)
    yield "prod is held (ho-", holds.held(made, world.operation(Verb.STOP))
    yield "prod is held no more", holds.released(ended)
    yield "prod is partly up", holds.above(made, answers.status("prod", world.status(), None))
    yield "clusters", answers.clusters([answers.Glance("prod", world.word, world.word, None, None, made)])


def cancel_views(world: World) -> Iterator[tuple[str, Message]]:
    by = Cancellation(values.ALICE, values.NOW, world.word)
    for verb in Verb:
        for cancellation in (by, replace(by, reason="")):
            running = replace(world.operation(verb), cancellation=cancellation)
            going_back = replace(running, failure=Outcome(State.FAILED).by_cancelling())
            for one in (running, going_back):
                yield f"Cancelled: {operation.DOING[verb]}".lower(), operation.live(one, world.entries(one))
            ended = replace(world.failed(verb, error=world.word, cancelled=True), cancellation=cancellation)
            told = [recorded(8, "cancelled", {"reason": cancellation.reason}), recorded(9, "finished", {})]
            lead = f"CANCELLED before it could {verb.words} prod"
            yield lead, operation.live(ended, [])
            yield lead, thread.thread(ended, told) or {}
            too_late = replace(world.done(verb), cancellation=cancellation)
            yield f"{operation.DONE[verb]} prod", operation.live(too_late, world.entries(too_late))
        yield "cancelled op-", answers.interrupted(world.operation(verb))
        yield "prod is busy", answers.opposed(world.operation(verb), world.proposal(verb))


def outcomes(world: World) -> Iterator[tuple[str, Operation]]:
    """Every way in which an operation stands or ends."""
    exits = [Exit(world.word, f"uid-{code}", world.word, code) for code in (0, 1, 137)]
    for verb in Verb:
        yield f"{verb} running", world.operation(verb)
        yield f"{verb} done", world.done(verb)
        yield (
            f"{verb} failed with diagnosis",
            world.failed(verb, diagnosis=world.diagnosis, by_hand=world.by_hand(verb)),
        )
        yield f"{verb} failed, not knowing why", world.failed(verb, diagnosis=Diagnosis())
        yield f"{verb} failed with error", world.failed(verb, error=world.word, claims=world.volumes("Lost"))
        yield (
            f"{verb} failed inside",
            world.operation(verb, Outcome(State.FAILED, error=f"internal error: {world.word}")),
        )
        late = world.failed(verb, diagnosis=world.diagnosis)
        yield f"{verb} late", replace(late, late_at=LATER + timedelta(minutes=3))
    yield "stop done, all exits clean", world.done(Verb.STOP, exits=tuple(exits[:1]))
    yield "stop done, killed and unseen", world.done(Verb.STOP, exits=tuple(exits), unseen=(world.word,))
    yield "stop done, claims lost since", world.done(Verb.STOP, claims=world.volumes("Lost"))
    before = replace(world.goal(Verb.STOP), claims=world.volumes("Pending"))
    after = Outcome(State.DONE, claims=world.volumes("Pending"))
    yield "stop done, claims lost before", replace(world.operation(Verb.STOP, after), goal=before)
    yield "stop done, a claim vanished", world.done(Verb.STOP, claims=world.volumes()[1:])
    yield "stop done, all claims vanished", world.done(Verb.STOP, claims=())
    for verdict in (Traffic.ANSWERS, Traffic.NO_ADDRESS, Traffic.REFUSES, Traffic.UNREACHABLE):
        yield f"start done, {verdict}", world.done(Verb.START, traffic=Traffic(verdict, world.word, world.word))
    for verb in (Verb.START, Verb.RESTORE):
        missed = world.done(verb, checked=Checked(Checked.NOT_RUN, world.word))
        yield f"{verb} done, configuration not seen", replace(missed, goal=replace(missed.goal, claims=()))
    moved = (Address(world.word, (world.word,), ("198.51.100.1",)), Address(world.word, (world.word,), ()))
    yield "restore done, elsewhere", world.done(Verb.RESTORE, addresses=moved)
    bare = world.done(Verb.START, traffic=Traffic(Traffic.NO_ADDRESS))
    yield "start done, replication not checked", replace(bare, goal=replace(bare.goal, unverified=True))


def approval_views(world: World) -> Iterator[tuple[str, Message]]:
    for state in ApprovalState:
        one = world.approval(state)
        yield cards.headline(one)[:20], cards.live(one, [])
        yield cards.headline(one)[:20], cards.bare(one)
    losing = world.losing()
    yield "Delete prod? Needs", cards.live(world.approval(asked=losing), [])
    yield "plan to delete prod", answers.plan("prod", losing)
    lost = replace(world.removal(), goal=losing.goal.marked("op-delete"))
    yield "prod is deleted", answers.deleted("prod", lost, world.gone())
    ended = thread.thread(replace(lost, phase="remove-claims"), world.entries(lost)[-ENDS:])
    yield "Deleted prod", ended or {}
    pending = world.approval()
    yield "asked for: delete prod (ap-", cards.requested(pending)
    yield "your yes to ap-", cards.approved(pending)
    yield "ap-000001 is denied", cards.ended(world.approval(ApprovalState.DENIED))
    yield "prod has changed", cards.renewed(pending, pending, [world.word] * 60)
    yield "open approvals", cards.open_ones([pending, world.approval(ApprovalState.APPROVED)] * 40)
    yield "nothing that you may see", cards.open_ones([])
    yield "prod: your yes or no", cards.notice(pending, LINK)
    yield "prod: your yes or no", cards.notice(pending, None)
    yield "slack did not open", cards.unopened(pending)
    for entry in world.said():
        if reply := cards.thread(pending, [entry]):
            yield "", reply
    yield ":white_check_mark:", cards.thread(pending, world.said()) or {}
    for left in (world.gone(), replace(world.gone(), volumes=(), capture="")):
        for copies in ((), (world.word,)):
            yield "prod is deleted", answers.deleted("prod", world.removal(), left, copies)


def kept_views(world: World) -> Iterator[tuple[str, Message]]:
    lead = "Snapshot sets and kept volumes of prod"
    yield lead, kept.kept("prod", Records(), LATER)
    yield lead, kept.kept("prod", world.kept_records(), LATER)
    left = [Leftover(Ref(Kind.POD, world.word), world.word), Leftover(Claim.ref_of(world.word), "op-gone00")] * 12
    several = tuple(
        replace(one, content=replace(one.content, id=f"op-{at:06}")) for at, one in enumerate(world.kept() * 9)
    )
    yield lead, kept.kept("prod", replace(world.kept_records(), sets=several), LATER, "ml550", left)
    yield lead, kept.kept("prod", Records(), LATER, "ml550", left)
    yield "Slack did not open", snapshots.unopened(world.kept()[0])
    for one in world.notices():
        for verb in (Verb.DELETE, Verb.RESTORE_IN_PLACE):
            yield kept.headline(one), kept.notice_live(one, world.notice_entries(verb))
        yield kept.headline(one), kept.notice_bare(one)
        if one.kept_until:
            yield "The volumes of prod are kept longer", kept.kept_longer(one)
        told = kept.notice_thread(one, world.notice_entries())
        assert told
        yield ":pause_button: not begun", told


def refusals(world: World) -> Iterator[tuple[str, Message]]:
    for refusal in every_refusal(world):
        yield str(refusal)[:5].strip(), answers.refused(refusal)
        if isinstance(refusal, errors.ClusterBusy):
            yield "prod is busy", answers.refused(refusal, LINK)


def every_refusal(world: World) -> list[errors.Refused]:
    proposal = world.proposal(Verb.STOP)
    decided = [replace(proposal, state=state) for state in proposals._SAID]
    said = [
        errors.NothingFound, errors.CountsUnknown, errors.Unsafe, errors.MissingRights, errors.NotAllowed,
        errors.NotUnderstood, Undecided, errors.AlreadyThere, errors.Refused,
        errors.NothingToPurge, errors.PurgeVoid, errors.NotCancellable, NoSuchSet,
    ]  # fmt: skip
    return [
        *(kind(f"No: {world.word}") for kind in said),
        errors.AlreadyStopped("prod is already stopped", world.done(Verb.STOP)),
        errors.AlreadyRunning("prod is already running", world.operation(Verb.START)),
        errors.ClusterBusy("prod", "op-000001"),
        errors.ClusterBusy("prod"),
        StillEnding(world.operation(Verb.VERIFY)),
        StillEnding(world.operation(Verb.STOP)),
        ClusterHeld(world.hold),
        NotHeld("prod"),
        CancelledNotBegun("op-000001", f"start prod because {world.word}", errors.Retryable(world.word)),
        Restarting(),
        TooMany(),
        proposals.NoSuchProposal(world.word),
        proposals.NotYours(proposal),
        proposals.ProposalExpired(proposal),
        *(proposals.AlreadyDecided(one) for one in decided),
        errors.Deleted(world.removal()),
        errors.HalfRestored(world.operation(Verb.RESTORE_IN_PLACE)),
        errors.HalfDeleted(world.removal()),
        errors.OtherKubernetes(world.removal()),
        errors.Removed(world.stop_that_removed()),
        errors.HalfRemoved(world.stop_that_removed()),
        *(errors.NoNamespace(values.TARGET, is_going=is_going) for is_going in (True, False)),
        errors.NothingToRestore(f"No: {world.word}"),
        errors.NothingToVerify(f"No: {world.word}"),
        *(NothingToExtend(one) for one in (None, *world.notices())),
        *refusals_of_approvals(world),
    ]


def refusals_of_approvals(world: World) -> list[errors.Refused]:
    asked, approved = world.approval(), world.approval(ApprovalState.APPROVED)
    said = [
        approval.ReasonMissing, approval.NobodyToAsk, approval.AskedAlready, approval.OwnRequest,
        approval.NotAnApprover, approval.NotTheRequester, approval.SaidAlready, approval.WrongName,
        approval.ApprovalExpired, approval.NotApproved, approval.PlanChanged, approval.DecidedMeanwhile,
    ]  # fmt: skip
    return [
        *(kind(asked) for kind in said),
        approval.AskedAlready(approved),
        approval.ApprovalExpired(replace(approved, approved_at=values.NOW)),
        approval.NotEntitled(approved, approved.approvers),
        approval.NoSuchApproval(world.word),
        approval.Elsewhere(),
        ApprovedNotBegun(approved, errors.Retryable(world.word)),
        ApprovedNotBegun(approved, errors.ClusterBusy("prod", "op-000001")),
        Overtaken(approved, Verb.RESTORE),
        Hidden(world.word),
        *(approval.ApprovalDecided(world.approval(state)) for state in ApprovalState),
    ]
