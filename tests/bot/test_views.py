"""Everything people read: Slack takes it, a phone shows the verdict, and nobody's words become the bot's."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.access import Role, Undecided
from bot.grammar import LONGEST_REASON
from bot.outcome import ApprovedNotBegun
from bot.overview import Hidden
from bot.status import Line, Status
from bot.views import answers, kept, operation, removals
from bot.views import approval as cards
from bot.views.blocks import BLOCK_LIMIT, Message, context, escape, message, preformatted, section
from lifecycle import approval, errors
from lifecycle.approval import Approval, ApprovalState, Decision, Terms
from lifecycle.by_hand import kubectl
from lifecycle.checks import Checked
from lifecycle.decide import delete, phases_of, purge, remove, restart, restore, returning, snapshot, start, stop
from lifecycle.model import (
    Address,
    Claim,
    Component,
    Content,
    Diagnosis,
    Discovery,
    Exit,
    Finding,
    Inventory,
    Kind,
    Observed,
    Owner,
    OwnerKind,
    Part,
    Person,
    Ref,
    Snapshot,
    SnapshotClass,
    Traffic,
    Verb,
)
from lifecycle.operation import Goal, Operation, Outcome, State
from lifecycle.plain import to_plain
from lifecycle.plan import Plan, plan, plan_of_return
from lifecycle.retention import Doomed, Keeping, Purging
from lifecycle.snapshots import Clone, Ending, SnapshotSet, Temperature, Unsaved
from lifecycle.topology import Topology, arranged
from lifecycle.verification import Examined, Leftover, Likeness, Result, Verdict, Verification, Verifying
from sandbox.slack.blocks import MESSAGE, faults_in_blocks, faults_in_view
from storage import proposals
from storage.audit import Recorded
from storage.proposals import Proposal, ProposalState
from storage.retention import KeptVolumes, NoSuchSet, NothingToExtend, Notice, NoticeState, Pin, Records
from storage.snapshots import Kept
from tests.fakes import values

ENDS = 4
"""The entries that tell of the end: only they read otherwise when it came."""
LINK = "https://tml.slack.com/archives/C0PROD/p1?thread_ts=1.1&cid=C0PROD"
LATER = values.NOW + timedelta(minutes=4)
OWN_MARKUP = re.compile(
    r"<@U0[A-Z]+>|<!subteam\^S0[A-Z]+>|<#C0[A-Z]+>|<!date\^\d+\^\{date_short_pretty\} \{time_secs\}\|[-0-9: ]+UTC>|"
    r"<https://tml\.slack\.com/[^<>|]+\|[-A-Za-z0-9 ]+>"
)
"""What the bot itself writes between angle brackets: people, channels, times, links to messages."""


@dataclass(frozen=True)
class World:
    """A cluster in which every word that comes from elsewhere is the same one."""

    word: str
    zones: int = 1
    claims: int = 2

    @property
    def discovery(self) -> Discovery:
        owners = (Owner(OwnerKind.HELM, self.word), Owner(OwnerKind.HPA, self.word))
        workloads = tuple(
            values.workload(component, zone, owners=owners) for zone in range(self.zones) for component in Component
        )
        found = values.discovery(workloads=workloads, mode="untethered")
        seen = replace(found.observed, claims=self.volumes())
        return replace(found, release=self.word, strange=(self.word,), observed=seen)

    def down(self) -> Discovery:
        found = self.discovery
        states = {
            one.ref: values.down(one, None if one.component is Component.REPORTING else 2) for one in found.workloads
        }
        return replace(found, observed=replace(found.observed, workloads=states))

    def volumes(self, status: str = "Bound") -> tuple[Claim, ...]:
        whole = self.word.encode("utf-8", "replace").decode()  # names are hashed, which takes no halves of characters
        return tuple(
            replace(
                values.CLAIMS[0],
                name=f"{whole}-{number}",
                uid=f"uid-{number}",
                status=status,
                storage_class=self.word,
            )
            for number in range(self.claims)
        )

    @property
    def diagnosis(self) -> Diagnosis:
        log = tuple(f"{self.word} {number}" for number in range(40))
        return Diagnosis(tuple(Finding(f"pod/{self.word}", self.word, self.word, log) for _ in range(6)))

    def goal(self, verb: Verb) -> Goal:
        return goal_of(self, verb)

    def _goal(self, verb: Verb) -> Goal:
        match verb:
            case Verb.STOP:
                return stop.goal(self.discovery)
            case Verb.START:
                return start.goal(self.down(), {}, {})
            case Verb.RESTART:
                return restart.goal(self.discovery, None, downtime=True)
            case Verb.DELETE:
                return self.delete_goal(keeps_services=False)
            case Verb.RESTORE:
                return restore.goal(restore.draft(self.removal()), self.gone())
            case Verb.PURGE:
                return self.purge_goal()
            case Verb.SNAPSHOT:
                return snapshot.goal(self.bound, self.inventory, Temperature.COLD, ())
            case Verb.RESTORE_IN_PLACE:
                return self.exchange()
            case Verb.REMOVE:
                return self.remove_goal(keeps_services=False)
            case Verb.RETURN:
                return returning.goal(self.stop_that_removed(), self.emptied(), {}, {})
            case Verb.VERIFY:
                return replace(
                    start.goal(self.down(), {}, {}),
                    verb=verb,
                    topology=Topology(()),
                    counts={},
                    claims=(),
                    databases=(),
                    sources={},
                    left=(),
                    unverified=False,
                    mark="op-000001",
                    verifying=self.verifying(),
                )

    def remove_goal(self, *, keeps_services: bool) -> Goal:
        parts = tuple(replace(part, addresses=(self.word,) if part.addresses else ()) for part in values.PARTS)
        shared = Part(Ref(Kind.SECRET, "cluster-property"), "uid-shared")
        return remove.goal(self.discovery, (*parts, shared), {}, keeps_services=keeps_services)

    def stop_that_removed(self) -> Operation:
        """What a start brings back."""
        goal = self.goal(Verb.REMOVE).marked("op-remove")
        done = Outcome(State.DONE)
        return replace(values.operation(goal, "op-remove"), state=State.DONE, outcome=done, ended_at=LATER)

    def emptied(self) -> Observed:
        """What is left after it: the capture and the claims."""
        return Observed(values.NOW, {}, self.goal(Verb.REMOVE).claims, capture="sha256-op-remove")

    def verifying(self) -> Verifying:
        whole = self.word.encode("utf-8", "replace").decode()
        like = Likeness(whole, whole, (whole,))
        members = (
            Examined(one.name, whole, "uid", 1, whole, (), Component.SQL, ("sh", "-c", whole), like)
            for one in self.volumes()
        )
        return Verifying("op-cutset", tuple(members))

    def verification(self, *results: Result) -> Verification:
        log = tuple(f"{self.word} {number}" for number in range(40))
        verdicts = (
            Verdict(one.name, result, 3, self.word, log) for one, result in zip(self.volumes(), results, strict=False)
        )
        return Verification("op-cutset", "op-000001", values.NOW, tuple(verdicts))

    def kept(self) -> list[Kept]:
        """Sets with every kind of verdict."""
        members = tuple(Snapshot("tml-x", "uid", self.word, cut_at=values.NOW, size=1) for _ in range(3))
        unsaved = (Unsaved(self.word, self.word),)
        content = SnapshotSet("op-cutset", Temperature.HOT, Ending.RUNNING, values.NOW, members, unsaved, "sha256")
        tested = [None, *(self.verification(one, Result.PASSED) for one in Result)]
        return [Kept(content, self.operation(Verb.SNAPSHOT), one) for one in tested]

    def exchange(self) -> Goal:
        """A restore in place of all claims."""
        made = snapshot.as_far_as_possible(self.delete_goal(keeps_services=True), self.bound, self.inventory, (), None)
        clones = tuple(
            Clone(one.name, f"tml-op-cutset-{one.name}", "uid", "handle", 1 << 30, "1Gi", "", ("RWO",), "", {})
            for one in made.claims
        )
        return replace(made, verb=Verb.RESTORE_IN_PLACE, chosen="op-cutset", clones=clones)

    def purge_goal(self) -> Goal:
        """Of all that a delete kept, and of one set; half of the volumes were Retain before."""
        kept = self.gone().volumes
        volumes = (*kept[::2], *(replace(one, policy_before="Retain", handle=self.word) for one in kept[1::2]))
        doomed = tuple(
            Doomed("op-oldset", one.claim, f"tml-op-oldset-{one.claim}", "uid", f"content-{one.claim}", "uid", "h")
            for one in volumes
        )
        made = purge.draft(purge.Stock())
        part = Part(Ref(Kind.SECRET, "tml-bot-capture-op-delete-0"), "uid", "op-delete")
        what = Purging(("op-delete",), ("op-oldset",), doomed, (), ("op-delete",), {"op-pinned": self.word})
        return replace(made, volumes=volumes, parts=(part,), purging=what)

    def delete_goal(self, *, keeps_services: bool) -> Goal:
        return delete.goal(self.bound, self.inventory, keeps_services=keeps_services)

    @property
    def bound(self) -> Discovery:
        """The same, each claim with a volume."""
        found = self.discovery
        claims = tuple(replace(claim, volume=f"pv-{claim.name}") for claim in found.observed.claims)
        return replace(found, observed=replace(found.observed, claims=claims))

    @property
    def inventory(self) -> Inventory:
        whole = self.word.encode("utf-8", "replace").decode()
        volumes = tuple(
            values.volume_of(claim, name=f"pv-{claim.name}", capacity="10Gi", driver=whole, is_csi=True)
            for claim in self.discovery.observed.claims
        )
        parts = tuple(replace(part, addresses=(self.word,) if part.addresses else ()) for part in values.PARTS)
        return Inventory(volumes, parts, (SnapshotClass(whole, whole, "Delete"),))

    def removal(self) -> Operation:
        """The delete that a restore undoes."""
        goal = self.goal(Verb.DELETE).marked("op-delete")
        done = Outcome(State.DONE)
        return replace(values.operation(goal, "op-delete"), state=State.DONE, outcome=done, ended_at=LATER)

    def gone(self) -> Observed:
        """What is left after it: the capture and the volumes."""
        kept = tuple(
            replace(one, policy="Retain", phase="Released", kept_by="op-delete", policy_before="Delete")
            for one in self.goal(Verb.DELETE).volumes
        )
        return Observed(values.NOW, {}, volumes=kept, capture="sha256-op-delete")

    def plan(self, verb: Verb) -> Plan:
        return plan_of(self, verb)

    def _plan(self, verb: Verb) -> Plan:
        if verb is Verb.RESTORE:
            return plan_of_return(self.goal(verb), values.TARGET, self.gone())
        if verb is Verb.RETURN:
            return plan_of_return(self.goal(verb), values.TARGET, self.emptied(), (self.word,))
        if verb is Verb.VERIFY:
            return plan_of_return(self.goal(verb), values.TARGET, Observed(values.NOW, {}))
        if verb is Verb.PURGE:
            goal = self.goal(verb)
            assert goal.purging
            contents = tuple(
                Content(one.content, "uid", "Retain", one.snapshot, "uid", "h") for one in goal.purging.doomed
            )
            snapshots = tuple(
                Snapshot(one.snapshot, "uid", one.claim, one.set, content=one.content) for one in goal.purging.doomed
            )
            seen = replace(self.gone(), volumes=goal.volumes, parts=goal.parts, contents=contents, snapshots=snapshots)
            return plan_of_return(goal, values.TARGET, seen)
        return plan(self.goal(verb), self.down() if verb is Verb.START else self.discovery)

    def operation(self, verb: Verb, outcome: Outcome | None = None, **changes: Any) -> Operation:
        made = replace(
            values.operation(self.goal(verb)),
            reason=self.word,
            command=f"{verb} prod because {self.word}",
            phase_begun_at=values.NOW,
        )
        if outcome:
            made = replace(made, state=outcome.state, outcome=outcome, ended_at=LATER)
        return replace(made, **changes)

    def done(self, verb: Verb, **changes: Any) -> Operation:
        refs = tuple(str(one.ref) for one in self.goal(verb).scope)
        return self.operation(verb, Outcome(State.DONE, done=refs, **{"claims": self.volumes(), **changes}))

    def failed(self, verb: Verb, **changes: Any) -> Operation:
        refs = tuple(str(one.ref) for one in self.goal(verb).scope)
        return self.operation(verb, Outcome(State.FAILED, **{"done": refs[:2], "missing": refs[2:], **changes}))

    def outcomes(self) -> Iterator[tuple[str, Operation]]:
        """Every way in which an operation stands or ends."""
        exits = [Exit(self.word, f"uid-{code}", self.word, code) for code in (0, 1, 137)]
        for verb in Verb:
            yield f"{verb} running", self.operation(verb)
            yield f"{verb} done", self.done(verb)
            yield (
                f"{verb} failed with diagnosis",
                self.failed(verb, diagnosis=self.diagnosis, by_hand=self.by_hand(verb)),
            )
            yield f"{verb} failed, not knowing why", self.failed(verb, diagnosis=Diagnosis())
            yield f"{verb} failed with error", self.failed(verb, error=self.word, claims=self.volumes("Lost"))
            yield (
                f"{verb} failed inside",
                self.operation(verb, Outcome(State.FAILED, error=f"internal error: {self.word}")),
            )
            late = self.failed(verb, diagnosis=self.diagnosis)
            yield f"{verb} late", replace(late, late_at=LATER + timedelta(minutes=3))
        yield "stop done, all exits clean", self.done(Verb.STOP, exits=tuple(exits[:1]))
        yield "stop done, killed and unseen", self.done(Verb.STOP, exits=tuple(exits), unseen=(self.word,))
        yield "stop done, claims lost since", self.done(Verb.STOP, claims=self.volumes("Lost"))
        before = replace(self.goal(Verb.STOP), claims=self.volumes("Pending"))
        after = Outcome(State.DONE, claims=self.volumes("Pending"))
        yield "stop done, claims lost before", replace(self.operation(Verb.STOP, after), goal=before)
        yield "stop done, a claim vanished", self.done(Verb.STOP, claims=self.volumes()[1:])
        yield "stop done, all claims vanished", self.done(Verb.STOP, claims=())
        for verdict in (Traffic.ANSWERS, Traffic.NO_ADDRESS, Traffic.REFUSES, Traffic.UNREACHABLE):
            yield f"start done, {verdict}", self.done(Verb.START, traffic=Traffic(verdict, self.word, self.word))
        for verb in (Verb.START, Verb.RESTORE):
            missed = self.done(verb, checked=Checked(Checked.NOT_RUN, self.word))
            yield f"{verb} done, configuration not seen", replace(missed, goal=replace(missed.goal, claims=()))
        moved = (Address(self.word, (self.word,), ("198.51.100.1",)), Address(self.word, (self.word,), ()))
        yield "restore done, elsewhere", self.done(Verb.RESTORE, addresses=moved)
        bare = self.done(Verb.START, traffic=Traffic(Traffic.NO_ADDRESS))
        yield "start done, replication not checked", replace(bare, goal=replace(bare.goal, unverified=True))

    def by_hand(self, verb: Verb) -> tuple[str, ...]:
        return tuple(line for wave in self.plan(verb).waves for step in wave for line in kubectl(step))

    def entries(self, one: Operation) -> list[Recorded]:
        """Every kind of entry, in the order in which they come."""
        return entries_of(self, one.verb, one.phase)

    def _entries(self, verb: Verb, phase: str) -> list[Recorded]:
        told: list[tuple[str, Any]] = [
            ("begun", {"plan": self.plan(verb)}),
            ("taken", {"executor": self.word, "first": True}),
            ("taken", {"executor": self.word, "first": False}),
            ("entered", {"phase": phase, "limit": 60}),
        ]
        for step in (step for wave in self.plan(verb).waves for step in wave):
            data = {"action": step.action, "kind": step.ref.kind, "name": step.ref.name}
            data |= {"replicas": step.replicas, "uid": "uid", "attempts": 2, "undone": True}
            told += [("step", data), ("step-failed", {**data, "error": self.word}), ("step-done", data)]
            told.append(("arrived", {"phase": phase, "objects": [str(step.ref)]}))
        told += [("passed", {"phase": one.name}) for one in phases_of(self.plan(verb).goal)]
        failure = Outcome(State.FAILED, diagnosis=self.diagnosis, error=self.word)
        told.append(("turned-back", {"failure": failure}))
        told += [("verified", self.verification(one, Result.PASSED)) for one in Result]
        told += [("exit", Exit(self.word, "uid", self.word, code)) for code in (0, 1, 137)]
        told += [("slow", {"diagnosis": self.diagnosis}), ("slow", {"diagnosis": Diagnosis()})]
        told += [("finished", {}), ("late", {"verb": verb}), ("a kind of next year", {})]
        return [recorded(seq, kind, to_plain(data)) for seq, (kind, data) in enumerate(told, 1)]

    def proposal(self, verb: Verb, state: ProposalState = ProposalState.OPEN) -> Proposal:
        made = self.plan(verb)
        return Proposal(
            "pr-000001", verb, "prod", {"text": self.word}, made.digest, values.ALICE, values.OPS, self.word,
            values.NOW, LATER, state, operation="op-000001" if state is ProposalState.ACCEPTED else None,
        )  # fmt: skip

    def approval(self, state: ApprovalState = ApprovalState.PENDING) -> Approval:
        made, bob = self.plan(Verb.DELETE), Person("T0TML", "U0BOB")
        said = (Decision(bob, state is not ApprovalState.DENIED, values.NOW, self.word),)
        return Approval(
            "ap-000001", Verb.DELETE, "prod", values.TARGET, values.ALICE, values.OPS, self.word, self.word,
            made.digest, to_plain(made), Terms(2, (("@S0LEADS", "U0BOB"),)), values.NOW, state, said,
            void_reason=self.word, operation="op-000001" if state is ApprovalState.EXECUTED else None,
        )  # fmt: skip

    def status(self, **changes: Any) -> Status:
        found = self.discovery
        states = (values.ready, values.unready, values.leaving, values.down)
        lines = tuple(Line(one, states[number % 4](one)) for number, one in enumerate(arranged(found.workloads)))
        return replace(Status(found, lines, None, None, (), Diagnosis()), **changes)

    def views(self) -> Iterator[tuple[str, Message]]:
        """Every view there is."""
        yield from self.operation_views()
        yield from self.approval_views()
        yield from self.refusals()
        yield from self.kept_views()
        for verb in Verb:
            made, proposal = self.plan(verb), self.proposal(verb)
            yield f"{verb.words} prod?", answers.card(proposal, made, changed=False)
            yield f"{verb.words} prod?", answers.card(proposal, made, changed=True)
            yield f"plan to {verb.words} prod", answers.plan("prod", made)
            yield f"{operation.DOING[verb]} prod (op-", answers.begun(self.operation(verb))
        stopped = self.stop_that_removed()
        refs = tuple(one.ref for one in stopped.goal.topology)
        yield "prod is stopped and removed", removals.removed(stopped, self.emptied(), refs)
        unwritten = replace(self.emptied(), capture="", claims=self.volumes("Lost")[1:])
        yield "prod is stopped and removed", removals.removed(stopped, unwritten, ())
        for last_known in (None, stopped):
            yield "prod is removed, and not", removals.taken_by_hand("prod", self.volumes("Lost"), last_known)
        yield "prod is half removed", answers.status("prod", self.status(absent=(self.word,), drift=(self.word,)), None)
        yield "prod: stopping and removing now", removals.under_way(self.operation(Verb.REMOVE))
        yield "prod is half removed", answers.status("prod", self.status(absent=(self.word,), last=stopped), None)
        half = self.failed(Verb.RETURN)
        yield "prod is half removed", answers.status("prod", self.status(absent=(self.word,), last=half), None)
        running, last = self.operation(Verb.START), self.failed(Verb.STOP, error=self.word)
        yield "prod is partly up", answers.status("prod", self.status(), None)
        yield "prod is partly up", answers.status("prod", self.status(running=running), LINK)
        yield "prod is partly up", answers.status("prod", self.status(running=running), None)
        unwell = self.status(last=last, drift=(self.word, self.word), diagnosis=self.diagnosis)
        yield "prod is partly up", answers.status("prod", unwell, None)
        rows = [(one, LINK if number % 2 else None) for number, (_, one) in enumerate(self.outcomes())][:10]
        yield "history of prod", answers.history("prod", rows)
        yield "history of all clusters", answers.history(None, [])
        glances = [
            answers.Glance("prod", self.word, self.word, *pair)
            for pair in ((running, None), (None, last), (None, None))
        ]
        yield "clusters", answers.clusters(glances * 20)
        yield "there is no cluster", answers.clusters([])
        yield "you are U0ALICE", answers.whoami(values.ALICE, {"prod": Role.OPERATOR, "dev": Role.VIEWER, "x": None})
        yield "what /tml understands", answers.usages()
        yield "left as it is", answers.dismissed()
        left = [Leftover(Ref(Kind.POD, self.word), self.word), Leftover(Claim.ref_of(self.word), "op-gone00")] * 12
        lead = "Snapshot sets and kept volumes of prod"
        several = tuple(
            replace(one, content=replace(one.content, id=f"op-{at:06}")) for at, one in enumerate(self.kept() * 9)
        )
        yield lead, kept.kept("prod", replace(self.kept_records(), sets=several), LATER, "ml550", left)
        yield lead, kept.kept("prod", Records(), LATER, "ml550", left)
        for back_up in (True, False, None):
            ended = replace(self.failed(Verb.VERIFY, error=self.word, back_up=back_up), phase="clean")
            yield "FAILED to verify prod", operation.thread(ended, [recorded(9, "finished", {})]) or {}
        yield "Kubernetes does not answer", answers.unreachable(errors.Retryable(self.word))
        yield "Kubernetes does not let", answers.unreachable(errors.Forbidden(self.word))
        yield "the bot's database", answers.unrecorded()
        yield "this went wrong", answers.broken()

    def approval_views(self) -> Iterator[tuple[str, Message]]:
        for state in ApprovalState:
            one = self.approval(state)
            yield cards.headline(one)[:20], cards.live(one, [])
            yield cards.headline(one)[:20], cards.bare(one)
        pending = self.approval()
        yield "asked for: delete prod (ap-", cards.requested(pending)
        yield "your yes to ap-", cards.approved(pending)
        yield "ap-000001 is denied", cards.ended(self.approval(ApprovalState.DENIED))
        yield "prod has changed", cards.renewed(pending, pending, [self.word] * 60)
        yield "open approvals", cards.open_ones([pending, self.approval(ApprovalState.APPROVED)] * 40)
        yield "nothing that you may see", cards.open_ones([])
        yield "prod: your yes or no", cards.notice(pending, LINK)
        yield "prod: your yes or no", cards.notice(pending, None)
        yield "slack did not open", cards.unopened(pending)
        for entry in self.said():
            if reply := cards.thread(pending, [entry]):
                yield "", reply
        yield ":white_check_mark:", cards.thread(pending, self.said()) or {}
        for left in (self.gone(), replace(self.gone(), volumes=(), capture="")):
            yield "prod is deleted", answers.deleted("prod", self.removal(), left)

    def said(self) -> list[Recorded]:
        """Every kind of entry of an approval."""
        told: list[tuple[str, Any]] = [
            ("approval-yes", {"reason": self.word}),
            ("approval-yes", {"reason": ""}),
            ("approval-no", {"reason": self.word}),
            ("approval-withdrawn", {}),
            ("approval-expired", {"approved": True}),
            ("approval-expired", {"approved": False}),
            ("approval-reminded", {"approvers": ["@S0LEADS", "U0BOB"]}),
            ("approval-escalated", {"approvers": ["@S0LEADS", "U0BOB"]}),
            ("approval-void", {"why": self.word}),
            ("approval-executed", {"operation": "op-000001"}),
            ("approval-asked", {}),
            ("approval-approved", {}),
        ]
        return [replace(recorded(seq, kind, data), actor=values.ALICE) for seq, (kind, data) in enumerate(told, 1)]

    def operation_views(self) -> Iterator[tuple[str, Message]]:
        for _, one in self.outcomes():
            lead = {
                State.RUNNING: f"{operation.DOING[one.verb]} prod",
                State.DONE: f"{operation.DONE[one.verb]} prod",
                State.FAILED: f"FAILED to {one.verb.words} prod",
            }[one.state]
            entries = self.entries(one)
            yield lead, operation.live(one, entries)
            yield lead, operation.bare(one)
            told = entries if one.state is State.RUNNING else entries[-ENDS:]
            for part in (told[n : n + 20] for n in range(0, len(told), 20)):
                if reply := operation.thread(one, part):
                    yield lead, reply

    def refusals(self) -> Iterator[tuple[str, Message]]:
        for refusal in self.every_refusal():
            yield str(refusal)[:5].strip(), answers.refused(refusal)
            if isinstance(refusal, errors.ClusterBusy):
                yield "prod is busy", answers.refused(refusal, LINK)

    def every_refusal(self) -> list[errors.Refused]:
        proposal = self.proposal(Verb.STOP)
        decided = [replace(proposal, state=state) for state in proposals._SAID]
        said = [
            errors.NothingFound, errors.CountsUnknown, errors.Unsafe, errors.MissingRights, errors.NotAllowed,
            errors.NotUnderstood, Undecided, errors.AlreadyThere, errors.Refused,
            errors.NothingToPurge, errors.PurgeVoid, NoSuchSet,
        ]  # fmt: skip
        return [
            *(kind(f"No: {self.word}") for kind in said),
            errors.AlreadyStopped("prod is already stopped", self.done(Verb.STOP)),
            errors.AlreadyRunning("prod is already running", self.operation(Verb.START)),
            errors.ClusterBusy("prod", "op-000001"),
            errors.ClusterBusy("prod"),
            proposals.NoSuchProposal(self.word),
            proposals.NotYours(proposal),
            proposals.ProposalExpired(proposal),
            *(proposals.AlreadyDecided(one) for one in decided),
            errors.Deleted(self.removal()),
            errors.HalfRestored(self.operation(Verb.RESTORE_IN_PLACE)),
            errors.HalfDeleted(self.removal()),
            errors.Removed(self.stop_that_removed()),
            errors.HalfRemoved(self.stop_that_removed()),
            errors.NothingToRestore(f"No: {self.word}"),
            errors.NothingToVerify(f"No: {self.word}"),
            *(NothingToExtend(one) for one in (None, *self.notices())),
            *self.refusals_of_approvals(),
        ]

    def notices(self) -> list[Notice]:
        """A notice in each of its states."""
        told = Notice("no-000001", "prod", "op-delete", values.OPS, values.NOW, LATER, held=self.word)
        ended = {"ended_at": LATER}
        return [
            told,
            replace(told, state=NoticeState.EXTENDED, kept_until=LATER, person=values.ALICE, **ended),
            replace(told, state=NoticeState.BEGUN, operation="op-purge0", **ended),
            replace(told, state=NoticeState.VOID, **ended),
        ]

    def notice_entries(self) -> list[Recorded]:
        told: list[tuple[str, Any]] = [
            ("notice", {"delete": "op-delete", "due_at": LATER, "volumes": self.gone().volumes}),
            ("notice-held", {"why": self.word}),
            ("notice-extended", {"until": LATER}),
            ("notice-begun", {"operation": "op-purge0", "delete": "op-delete"}),
            ("notice-void", {"why": "restored"}),
            ("notice-void", {"why": "gone"}),
        ]
        return [recorded(seq, kind, to_plain(data)) for seq, (kind, data) in enumerate(told, 1)]

    def kept_records(self) -> Records:
        """A pinned set, one that is not, what failed and what a delete kept."""
        taker = self.done(Verb.SNAPSHOT)
        members = tuple(Snapshot(f"s-{n}", "uid", self.word, "op-1", size=1) for n in range(self.claims))
        saved = [
            SnapshotSet(one, Temperature.HOT, Ending.RUNNING, values.NOW, members, (), "sha")
            for one in ("op-000001", "op-000002")
        ]
        removal = self.removal()
        keeping = Keeping(removal.id, LATER, timedelta(days=7))
        failed = self.failed(Verb.SNAPSHOT, snapshots=members)
        return Records(
            sets=tuple(Kept(one, taker) for one in saved),
            pins={"op-000001": Pin("op-000001", values.ALICE, values.NOW)},
            failed=(failed, self.failed(Verb.SNAPSHOT)),
            volumes=(KeptVolumes(removal, keeping), KeptVolumes(removal, replace(keeping, keeps=None))),
        )

    def kept_views(self) -> Iterator[tuple[str, Message]]:
        lead = "Snapshot sets and kept volumes of prod"
        yield lead, kept.kept("prod", Records(), LATER)
        yield lead, kept.kept("prod", self.kept_records(), LATER)
        for one in self.notices():
            yield kept.headline(one), kept.notice_live(one, self.notice_entries())
            yield kept.headline(one), kept.notice_bare(one)
            if one.kept_until:
                yield "The volumes of prod are kept longer", kept.kept_longer(one)
            told = kept.notice_thread(one, self.notice_entries())
            assert told
            yield ":pause_button: not begun", told

    def refusals_of_approvals(self) -> list[errors.Refused]:
        asked, approved = self.approval(), self.approval(ApprovalState.APPROVED)
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
            approval.NoSuchApproval(self.word),
            approval.Elsewhere(),
            ApprovedNotBegun(approved, errors.Retryable(self.word)),
            ApprovedNotBegun(approved, errors.ClusterBusy("prod", "op-000001")),
            Hidden(self.word),
            *(approval.ApprovalDecided(self.approval(state)) for state in ApprovalState),
        ]


@cache
def goal_of(world: World, verb: Verb) -> Goal:
    return world._goal(verb)


@cache
def plan_of(world: World, verb: Verb) -> Plan:
    return world._plan(verb)


@cache
def entries_of(world: World, verb: Verb, phase: str) -> list[Recorded]:
    return world._entries(verb, phase)


def recorded(seq: int, kind: str, data: Any) -> Recorded:
    return Recorded(seq, values.NOW, kind, None, "prod", "op-000001", values.OPS, data, "0", "1")


def texts(value: Any) -> Iterator[str]:
    """Every text in it that Slack reads as mrkdwn."""
    if isinstance(value, dict):
        if value.get("type") == "mrkdwn":
            assert value["verbatim"] is True, "or Slack makes links of addresses that nobody wrote as links"
            yield value["text"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from texts(item)


def plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def wrong_with(shown: Message) -> list[str]:
    """What Slack would refuse, and what of somebody else's words would be more than words."""
    wrong = faults_in_blocks(shown["blocks"], MESSAGE)
    if not shown["blocks"]:
        wrong.append("no blocks")
    if len(plain(shown["text"])) > 99:
        wrong.append("a notification that is too long")
    for text in [shown["text"], *texts(shown["blocks"])]:
        wrong += wrong_in(text)
    return wrong


def wrong_in(text: str) -> list[str]:
    wrong = []
    if set("<>") & set(OWN_MARKUP.sub("", text)):
        wrong.append(f"markup: {text[:200]!r}")
    if text.count("```") and not (text.count("```") == 2 and text.startswith("```\n") and text.endswith("\n```")):
        wrong.append(f"a fence: {text[:200]!r}")
    if any(ord(sign) < 32 and sign not in "\n\t" for sign in text) or "\u202e" in text:
        wrong.append(f"control characters: {text[:200]!r}")
    text.encode()  # no halves of characters
    return wrong


def words(shown: Message) -> str:
    return "\n".join(texts(shown["blocks"]))


def finish(one: Operation) -> str:
    """The end of its thread."""
    reply = operation.thread(one, [recorded(9, "finished", {})])
    assert reply is not None
    return words(reply)


TABLE = list(World("patching the nodes").views())


@pytest.mark.parametrize(("lead", "shown"), TABLE, ids=[f"{number} {lead}" for number, (lead, _) in enumerate(TABLE)])
def test_slack_takes_every_view_and_its_notification_starts_with_the_verdict(lead: str, shown: Message) -> None:
    assert wrong_with(shown) == []
    assert shown["text"].lower().startswith(lead.lower())


def test_every_refusal_there_is_has_been_looked_at() -> None:
    def kinds(kind: type[errors.Refused]) -> set[type[errors.Refused]]:
        return {kind, *(below for sub in kind.__subclasses__() for below in kinds(sub))}

    assert {type(refusal) for refusal in World("x").every_refusal()} == kinds(errors.Refused)


MENTIONS = [
    "<!channel>",
    "<!here|here>",
    "<@U0BOB>",
    "<!subteam^S0TMLOPS>",
    "@channel",
    "<http://evil|x>",
    "http://evil",
]
MARKUP = [
    "```",
    "``",
    "`",
    "*",
    "_",
    "~",
    ">>> ",
    "&",
    "&lt;!channel&gt;",
    "&amp;",
    "<",
    ">",
    "|",
    "^",
    "{0}",
    "{name}",
    "%s",
]
UNSEEN = ["\x00", "\x1b[31m", "\x85", "\r\n", "\n", "\n\n:x: *FAILED*\n", "\t", "\u202e", "\u2028", "\ud800", " "]
LONG = ["x" * 10_000, "&" * 600, "`" * 600, "😀" * 600, "e\u0301" * 600]
HOSTILE = st.sampled_from([*MENTIONS, *MARKUP, *UNSEEN, *LONG])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(HOSTILE, st.text(max_size=20)), min_size=1, max_size=6).map("".join))
def test_hostile_words_stay_words(word: str) -> None:
    for _, shown in World(word).views():
        assert wrong_with(shown) == []


@pytest.mark.parametrize("word", ["<!channel>", "```", "```\n<!channel>\n```", "&" * 4000, "x" * 10_000, "\ud800\x00"])
def test_the_worst_words_stay_words(word: str) -> None:
    for _, shown in World(word).views():
        assert wrong_with(shown) == []


def test_a_cluster_of_three_zones_and_sixty_claims_stays_within_the_limits_and_is_shown_whole() -> None:
    big = World("data-mysql-set-0", zones=3, claims=60)
    for _, shown in big.views():
        assert wrong_with(shown) == []
    thread = finish(big.done(Verb.STOP))
    assert all(f"data-mysql-set-0-{number} " in thread for number in range(60))
    live = words(operation.live(big.operation(Verb.STOP), []))
    assert live.count(":white_circle:") == 21
    assert "tm-2" in live
    status = words(answers.status("prod", big.status(), None))
    assert all(workload.label in status for workload in big.discovery.workloads)


def test_the_buttons_of_a_failure_are_kept_when_a_message_has_to_be_cut() -> None:
    wide = "&" * 80
    claim = Claim(wide, "uid", wide, wide, wide, (wide,), wide)
    failed = World(wide).failed(Verb.START, claims=(claim,) * 60)
    reply = operation.thread(failed, [recorded(9, "finished", {})])
    assert reply is not None
    assert len(reply["blocks"]) == BLOCK_LIMIT
    assert reply["blocks"][-1]["type"] == "actions"
    assert "more" in str(reply["blocks"][-2])


@pytest.mark.parametrize("word", ["patching", "<!channel>", "```\n<!channel>\n```", "&" * 4000, "x" * 10_000])
@pytest.mark.parametrize("claims", [2, 60, 200])
def test_slack_takes_the_dialog_however_much_there_is_to_say(word: str, claims: int) -> None:
    one = replace(World(word, zones=3, claims=claims).approval(), cluster="a" * 40)
    dialog = cards.modal(one)
    assert faults_in_view(dialog) == []
    assert [wrong_in(text) for text in texts(dialog)] == [[]] * len(list(texts(dialog)))
    assert len(dialog["title"]["text"]) <= 24
    inputs = [block for block in dialog["blocks"] if block["type"] == "input"]
    assert [block["block_id"] for block in inputs] == ["name", "reason"], "however much has to be cut"
    assert all(len(block["label"]["text"]) <= 150 for block in inputs)
    assert dialog["private_metadata"] == one.id
    for answer in (answers.deciding(), answers.broken(), cards.approved(one)):
        assert faults_in_view(cards.told_in_modal(answer)) == []


def test_a_delete_of_three_zones_and_sixty_claims_names_each_volume_and_its_way_back() -> None:
    big = World("data-mysql-set-0", zones=3, claims=60)
    card, dialog = words(cards.live(big.approval(), [])), "\n".join(texts(cards.modal(big.approval())))
    for number in range(60):
        line = f"• data-mysql-set-0-{number}: volume pv-data-mysql-set-0-{number}, 10Gi, the claim's uid uid-{number}\n"
        assert line in f"{card}\n"
        assert line in f"{dialog}\n"
    thread = finish(replace(big.done(Verb.DELETE), phase="remove-claims"))
    assert all(f"• data-mysql-set-0-{number} → pv-data-mysql-set-0-{number} (10Gi)" in thread for number in range(60))


def test_the_buttons_of_a_card_are_kept_when_it_has_to_be_cut() -> None:
    card = cards.live(World("&" * 500, zones=3, claims=60).approval(), [])
    assert len(card["blocks"]) <= BLOCK_LIMIT
    buttons, footer = card["blocks"][-2:]
    assert [one["action_id"] for one in buttons["elements"]] == ["approve", "deny", "withdraw"]
    assert "ap-000001" in str(footer)


BUTTONS = {ApprovalState.PENDING: ["approve", "deny", "withdraw"], ApprovalState.APPROVED: ["run"]}
HEADLINES = {
    ApprovalState.PENDING: "Delete prod? Needs one more person's yes",
    ApprovalState.APPROVED: "Approved, not begun: delete prod",
    ApprovalState.EXECUTED: "Approved and begun: delete prod (op-000001)",
    ApprovalState.DENIED: "Denied: delete prod. Nothing was done",
    ApprovalState.EXPIRED: "Expired: delete prod. Nothing was done",
    ApprovalState.WITHDRAWN: "Withdrawn: delete prod. Nothing was done",
    ApprovalState.VOID: "Void: delete prod. Nothing was done",
}


@pytest.mark.parametrize("state", ApprovalState)
def test_a_card_says_how_it_stands_and_has_the_buttons_that_do_something(state: ApprovalState) -> None:
    card = cards.live(World("moving").approval(state), [])
    assert card["text"] == HEADLINES[state]
    shown = [one["action_id"] for block in card["blocks"] if block["type"] == "actions" for one in block["elements"]]
    assert shown == BUTTONS.get(state, [])
    assert ("*Ways back*" in words(card)) is (state in BUTTONS), "a plan that is not carried out is no news"
    assert "<@U0ALICE> asks to delete *prod*, because moving" in words(card)
    assert f"<@U0BOB> said {'no' if state is ApprovalState.DENIED else 'yes'}" in words(card)


def test_a_plan_to_delete_says_of_each_volume_and_address_what_becomes_of_it() -> None:
    world = World("203.0.113.7")
    given_up = words(answers.plan("prod", world.plan(Verb.DELETE)))
    assert "• 203.0.113.7-0: volume pv-203.0.113.7-0, 10Gi, the claim's uid uid-0\n" in given_up
    assert "it is kept (Retain), and a restore binds it again: the same bytes" in given_up
    assert "the address 203.0.113.7 of tm-svc is given up; DNS that names it has to follow" in given_up
    about, head = [line for line in given_up.splitlines() if "snapshot" in line.lower()]
    assert about == "*No snapshots* are taken: the loss of a volume itself has no way back."
    assert head.startswith("*Lost if a kept volume itself is lost*")
    kept = plan(world.delete_goal(keeps_services=True), world.discovery)
    staying = words(answers.plan("prod", kept))
    assert ":information_source: tm-svc stays with its address 203.0.113.7" in staying
    assert "given up" not in staying


def test_a_plan_to_restore_says_that_the_same_bytes_come_back_and_the_address_may_not() -> None:
    shown = words(answers.plan("prod", World("203.0.113.7").plan(Verb.RESTORE)))
    assert "2 kept volumes are bound to claims of their old names: the same bytes" in shown
    assert "was given up: the new one may be another; DNS that names it has to follow" in shown
    assert "snapshot" not in shown.lower()
    assert "API traffic comes back at the end" in shown


def test_a_claim_without_a_volume_is_said_to_have_nothing_to_keep() -> None:
    world = World("x")
    made = world.plan(Verb.DELETE)
    never = replace(made, goal=replace(made.goal, claims=(*made.goal.claims, Claim("spare", "uid-9", "Pending"))))
    assert "• spare has no volume: there is nothing in it to keep" in words(answers.plan("prod", never))


WIDE = [
    (verb, phase.name) for verb in (Verb.DELETE, Verb.RESTORE) for phase in phases_of(World("moving").plan(verb).goal)
]


@pytest.mark.parametrize(("verb", "name"), WIDE)
@pytest.mark.parametrize("failed", [False, True])
def test_the_live_message_shows_how_far_each_phase_is(verb: Verb, name: str, failed: bool) -> None:
    world = World("moving")
    names = [phase.name for phase in phases_of(world.plan(verb).goal)]
    at = names.index(name)
    one = world.failed(verb, error="gone") if failed else world.operation(verb)
    one = replace(one, phase=name)
    phase = phases_of(one.goal)[at]
    objects = [str(ref) for ref in phase.objects(one.goal)]
    entries = [recorded(seq, "passed", {"phase": passed}) for seq, passed in enumerate(names[:at], 1)]
    entries.append(recorded(9, "arrived", {"phase": name, "objects": objects[:1]}))
    shown = words(operation.live(one, entries))
    assert [shown.count(mark) for mark in (":white_check_mark:", ":white_circle:")] == [at, len(names) - at - 1]
    symbol = ":x:" if failed else ":hourglass_flowing_sand:"
    assert f"{symbol} {operation.PHASES[name]}: 1 of {len(objects)}" in shown


@pytest.mark.parametrize("verb", [Verb.DELETE, Verb.RESTORE])
def test_what_is_done_is_shown_as_done_in_every_phase(verb: Verb) -> None:
    names = [phase.name for phase in phases_of(World("moving").plan(verb).goal)]
    done = replace(World("moving").done(verb), phase=names[-1])
    entries = [recorded(seq, "passed", {"phase": name}) for seq, name in enumerate(names[:-1], 1)]
    shown = operation.live(done, entries)
    assert words(shown).count(":white_check_mark:") == len(names) + 1
    assert shown["text"].startswith("Deleted prod" if verb is Verb.DELETE else "Restored prod")


@pytest.mark.parametrize("name", [name for verb, name in WIDE if verb is Verb.DELETE])
def test_a_failed_delete_says_what_was_removed_and_how_to_go_on(name: str) -> None:
    failed = replace(World("moving").failed(Verb.DELETE, error="no answer"), phase=name)
    thread = finish(failed)
    if name in ("remove", "remove-claims"):
        assert "`/tml restore prod` brings back what was removed; every volume is kept" in thread
        assert "*Kept* 2 volumes" in thread
    else:
        assert "Nothing was removed, and nothing was rolled back." in thread
        assert "`/tml delete prod because moving` once the cause is mended: it asks for a new approval" in thread
    assert "it goes on from here" not in thread
    reply = operation.thread(failed, [recorded(9, "finished", {})])
    assert ("undo" in str(reply)) is (name in ("remove", "remove-claims"))


@pytest.mark.parametrize("back_up", [None, True, False])
def test_a_delete_that_turned_back_shows_whether_the_cluster_runs_again(back_up: bool | None) -> None:
    world = World("moving")
    failure = Outcome(State.FAILED, error="the volume stayed Delete")
    entries = [recorded(1, "passed", {"phase": "down"}), recorded(2, "passed", {"phase": "capture"})]
    one = replace(world.operation(Verb.DELETE), phase="up-again", failure=failure)
    if back_up is not None:
        outcome = replace(failure, back_up=back_up)
        one = replace(one, state=State.FAILED, outcome=outcome, ended_at=LATER)
    shown = words(operation.live(one, entries))
    assert "volume" in shown
    symbol = {None: ":hourglass_flowing_sand:", True: ":white_check_mark:", False: ":x:"}[back_up]
    assert f"{symbol} components up again" in shown
    assert ":white_circle:" not in shown, "the other phases never come"
    if back_up is not None:
        said = "*was started again*" if back_up else "*could not be started again*"
        assert f"Nothing was removed. prod {said}." in finish(one)
    told = operation.thread(one, [recorded(3, "turned-back", to_plain({"failure": failure}))])
    assert "prod is not deleted, and nothing was removed" in str(told)


def test_a_deleted_cluster_says_whether_it_can_be_brought_back() -> None:
    world = World("moving")
    whole = words(answers.deleted("prod", world.removal(), world.gone()))
    assert "`/tml restore prod` brings it back" in whole
    assert whole.count("Retain Released") == 2
    lost = replace(world.gone(), volumes=world.gone().volumes[:1])
    assert "not restorable as it is" in words(answers.deleted("prod", world.removal(), lost))
    assert ":x: moving-1: volume pv-moving-1 is gone" in words(answers.deleted("prod", world.removal(), lost))
    unwritten = words(answers.deleted("prod", world.removal(), replace(world.gone(), capture="")))
    assert ":x: the capture is not whole" in unwritten
    assert "not restorable as it is" in unwritten


def test_the_thread_of_an_approval_says_who_said_what() -> None:
    lines = words(cards.thread(WORLD.approval(), WORLD.said()) or {}).splitlines()
    assert lines[:4] == [
        ":white_check_mark: <@U0ALICE> said yes: patching",
        ":white_check_mark: <@U0ALICE> said yes",
        ":no_entry: <@U0ALICE> said no: patching. Nothing was done",
        ":leftwards_arrow_with_hook: <@U0ALICE> took it back. Nothing was done",
    ]
    assert ":bell: still open, <!subteam^S0LEADS> and <@U0BOB>: it expires soon" in lines
    assert ":bell: no decision yet, so these are asked now: <!subteam^S0LEADS> and <@U0BOB>" in lines
    assert lines[-1] == ":arrow_forward: begun as op-000001"


WORLD = World("patching")
SAYINGS = {
    "all claims vanished": (
        WORLD.done(Verb.STOP, claims=()),
        "patching-0 was there at the beginning and is not any more",
    ),
    "a claim vanished": (WORLD.done(Verb.STOP, claims=WORLD.volumes()[1:]), "patching-0 was there at the beginning"),
    "lost since": (WORLD.done(Verb.STOP, claims=WORLD.volumes("Lost")), ":warning: patching-1 is Lost\n"),
    "killed": (WORLD.done(Verb.STOP, exits=(Exit("sql-0", "u", "sql", 137),)), "sql-0/sql was KILLED (exit 137)"),
    "unseen": (WORLD.done(Verb.STOP, unseen=("sql-0/sql",)), "the end of sql-0/sql was not seen"),
    "clean": (WORLD.done(Verb.STOP, exits=(Exit("sql-0", "u", "sql", 0),)), "every database container ended by itself"),
    "left": (WORLD.done(Verb.START), "reporting stays at zero; `reporting=N` would start it"),
    "volumes unseen": (WORLD.failed(Verb.STOP, error="gone"), "*Volumes* were not seen at the end"),
    "rolled back": (WORLD.failed(Verb.START, error="gone"), "Nothing was rolled back"),
    "by hand": (WORLD.failed(Verb.STOP, by_hand=WORLD.by_hand(Verb.STOP)), "kubectl --context eks-prod -n ml550 scale"),
    "traffic": (
        WORLD.done(Verb.START, traffic=Traffic(Traffic.UNREACHABLE, "10.0.0.1")),
        "not reachable from the bot at 10.0",
    ),
}


@pytest.mark.parametrize("what", SAYINGS)
def test_the_end_of_the_thread_says(what: str) -> None:
    one, said = SAYINGS[what]
    assert said in finish(one)


def test_a_claim_that_was_not_bound_before_is_named_as_such() -> None:
    before = replace(WORLD.goal(Verb.STOP), claims=WORLD.volumes("Pending"))
    one = replace(WORLD.operation(Verb.STOP, Outcome(State.DONE, claims=WORLD.volumes("Pending"))), goal=before)
    assert "patching-0 is Pending (it was not before either)" in finish(one)


def test_what_to_type_next_is_what_was_typed_with_its_options() -> None:
    """`/tml restart prod` would restart everything, and is refused without the word for it."""
    failed = replace(
        WORLD.failed(Verb.RESTART), command="restart prod sql --downtime because of &lt;@U0BOB|bob&gt; `x`"
    )
    assert "`/tml restart prod sql --downtime because of &lt;@U0BOB|bob&gt; 'x'`" in finish(failed)


def test_a_reason_cannot_pass_for_a_line_of_the_bot() -> None:
    forged = World("done\n:white_check_mark: *tm* stopped")
    assert "\n:white_check_mark:" not in words(operation.live(forged.operation(Verb.STOP), []))


def test_the_longest_reason_is_shown_whole() -> None:
    long = World("x" * LONGEST_REASON)
    assert long.word in words(operation.live(long.operation(Verb.STOP), []))


def test_text_that_has_to_be_cut_is_cut_between_marks() -> None:
    for padding in range(2960, 3001):
        text = section("x" * padding + "<@U0ALICE> &lt;!channel&gt;")["text"]["text"]
        assert len(text) <= 3000
        assert wrong_in(text) == []
        assert not re.search(r"&[a-z]*…$", text)


def test_a_log_line_cannot_end_its_code_block() -> None:
    (block,) = preformatted(["before", "```", "<!channel> ````", "`", "after"])
    assert wrong_in(block["text"]["text"]) == []
    assert block["text"]["text"].splitlines()[-2:] == ["after", "```"]


def test_what_is_shown_is_what_was_said() -> None:
    said = "a < b && c > d, 100 % `sure` *really* 😀 ä"
    assert plain(escape(said)) == said


def test_a_message_without_buttons_is_cut_at_the_limit_and_says_so() -> None:
    shown = message("x", [context(str(number)) for number in range(60)])
    assert len(shown["blocks"]) == BLOCK_LIMIT
    assert "11 more" in str(shown["blocks"][-1])
