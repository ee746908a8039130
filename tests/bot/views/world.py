"""A cluster, and all that happens to it, in words that come from elsewhere."""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Any

from bot.status import Line, Status
from lifecycle.approval import Approval, ApprovalState, Decision, Terms
from lifecycle.by_hand import kubectl
from lifecycle.decide import delete, phases_of, purge, remove, restart, restore, returning, snapshot, start, stop
from lifecycle.diagnosis import Diagnosis, Finding
from lifecycle.hold import Hold
from lifecycle.model import Component, Kind, Person, Ref, Verb
from lifecycle.observed import Discovery, Inventory, Observed, Part
from lifecycle.operation import Goal, Operation, Outcome, State
from lifecycle.plain import to_plain
from lifecycle.plan import Plan, plan, plan_of_return
from lifecycle.quiescing import HotCommands, Quiescence
from lifecycle.retention import Doomed, Keeping, Purging
from lifecycle.snapshots import Clone, Ending, Flush, Grouping, SnapshotSet, Temperature, Unsaved
from lifecycle.topology import Topology, arranged
from lifecycle.verification import Examined, Likeness, Result, Verdict, Verification, Verifying
from lifecycle.volumes import Claim, Content, GroupSnapshot, Snapshot, SnapshotClass
from lifecycle.workloads import Exit, Owner, OwnerKind
from storage.audit import Recorded
from storage.proposals import Proposal, ProposalState
from storage.retention import KeptVolumes, Notice, NoticeState, Pin, Records
from storage.snapshots import Kept
from tests.fakes import values

LATER = values.NOW + timedelta(minutes=4)


WEEK = timedelta(days=7)


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
                return replace(self.delete_goal(keeps_services=False), keeps=WEEK)
            case Verb.RESTORE:
                return restore.goal(restore.draft(self.removal()), self.gone())
            case Verb.PURGE:
                return self.purge_goal()
            case Verb.SNAPSHOT:
                made = snapshot.goal(self.bound, self.inventory, Temperature.COLD, ())
                return replace(made, copies=(self.encodable,))
            case Verb.RESTORE_IN_PLACE:
                return replace(self.exchange(), keeps=WEEK)
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

    @property
    def encodable(self) -> str:
        """The word, where a digest is made of it."""
        return self.word.encode("utf-8", "replace").decode()

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
        whole = self.encodable
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
        flushes = (Flush(Ref(Kind.STATEFUL_SET, self.word), self.word), Flush(Ref(Kind.STATEFUL_SET, self.word)))
        cold = replace(content, temperature=Temperature.COLD, ending=Ending.CLEAN, flushes=flushes)
        tested = [None, *(self.verification(one, Result.PASSED) for one in Result)]
        taker = self.operation(Verb.SNAPSHOT)
        others = [Kept(one, taker) for one in self.hot_sets(content)]
        return [*(Kept(one, taker, verification) for one in (content, cold) for verification in tested), *others]

    def hot_sets(self, content: SnapshotSet) -> list[SnapshotSet]:
        """As a group and one by one, with every end of the commands around the cut."""
        group = GroupSnapshot("tml-op-cutset", "uid", "", "op-cutset")
        ends = (Quiescence(is_quiesced=True), Quiescence(is_quiesced=False, why=self.word, by_hand=self.word))
        return [replace(content, group=one, quiescence=end) for one in (None, group) for end in ends]

    def hot_plan(self, *, is_group: bool) -> Plan:
        """With commands around the cut."""
        classes = (SnapshotClass("groups", values.CSI, "Delete"),)
        grouping = Grouping(classes) if is_group else Grouping(why_not=self.word)
        whole = self.word.encode("utf-8", "replace").decode()
        commands = HotCommands(Component.SQL, (whole, whole), (whole,))
        made = snapshot.goal(self.bound, self.inventory, Temperature.HOT, ())
        return plan(snapshot.held_still(made, grouping, commands), self.bound)

    def exchange(self) -> Goal:
        """A restore in place of all claims."""
        made = snapshot.as_far_as_possible(self.delete_goal(keeps_services=True), self.bound, self.inventory, (), None)
        clones = tuple(
            Clone(
                *(one.name, f"tml-op-cutset-{one.name}", "uid", "handle", 1 << 30, "1Gi", "", ("RWO",), "", {}),
                is_lost=number % 2 == 0,
            )
            for number, one in enumerate(made.claims)
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

    def losing(self) -> Plan:
        """A delete of a cluster whose claims have all lost their volumes, but the first."""
        found = self.bound
        left = replace(self.inventory, volumes=self.inventory.volumes[:1])
        made = delete.goal(found, left, keeps_services=False, may_lose=True)
        return plan(snapshot.as_far_as_possible(made, found, left, (), None), found)

    @property
    def bound(self) -> Discovery:
        """The same, each claim with a volume."""
        found = self.discovery
        claims = tuple(replace(claim, volume=f"pv-{claim.name}") for claim in found.observed.claims)
        return replace(found, observed=replace(found.observed, claims=claims))

    @property
    def inventory(self) -> Inventory:
        whole = self.encodable
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

    @property
    def hold(self) -> Hold:
        return Hold("ho-000001", "prod", values.ALICE, values.OPS, self.word, values.NOW)

    def done(self, verb: Verb, **changes: Any) -> Operation:
        refs = tuple(str(one.ref) for one in self.goal(verb).scope)
        return self.operation(verb, Outcome(State.DONE, done=refs, **{"claims": self.volumes(), **changes}))

    def failed(self, verb: Verb, **changes: Any) -> Operation:
        refs = tuple(str(one.ref) for one in self.goal(verb).scope)
        return self.operation(verb, Outcome(State.FAILED, **{"done": refs[:2], "missing": refs[2:], **changes}))

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
        again = tuple(Snapshot("tml-x", "uid", self.word) for _ in range(3))
        told.append(("set-rebound", {"set": "op-cutset", "before": again, "now": again}))
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

    def approval(self, state: ApprovalState = ApprovalState.PENDING, asked: Plan | None = None) -> Approval:
        made, bob = asked or self.plan(Verb.DELETE), Person("T0TML", "U0BOB")
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

    def notice_entries(self, verb: Verb = Verb.DELETE) -> list[Recorded]:
        told: list[tuple[str, Any]] = [
            ("notice", {"verb": verb, "delete": "op-delete", "due_at": LATER, "volumes": self.gone().volumes}),
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
        keeping = Keeping(removal.id, LATER, WEEK)
        failed = self.failed(Verb.SNAPSHOT, snapshots=members)
        return Records(
            sets=tuple(Kept(one, taker) for one in saved),
            pins={"op-000001": Pin("op-000001", values.ALICE, values.NOW)},
            failed=(failed, self.failed(Verb.SNAPSHOT)),
            volumes=(KeptVolumes(removal, keeping), KeptVolumes(removal, replace(keeping, keeps=None))),
        )


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
