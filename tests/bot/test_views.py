"""Everything people read: Slack takes it, a phone shows the verdict, and nobody's words become the bot's."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.access import Role, Undecided
from bot.grammar import LONGEST_REASON
from bot.status import Line, Status
from bot.views import answers, operation
from bot.views.blocks import BLOCK_LIMIT, Message, context, escape, message, preformatted, section
from lifecycle import errors
from lifecycle.decide import restart, start, stop
from lifecycle.model import (
    Claim,
    Component,
    Diagnosis,
    Discovery,
    Exit,
    Finding,
    Owner,
    OwnerKind,
    Traffic,
    Verb,
)
from lifecycle.operation import Goal, Operation, Outcome, State
from lifecycle.plain import to_plain
from lifecycle.plan import Plan, kubectl, plan
from lifecycle.topology import arranged
from sandbox.slack.blocks import MESSAGE, faults_in_blocks
from storage import proposals
from storage.audit import Recorded
from storage.proposals import Proposal, ProposalState
from tests.fakes import values

LINK = "https://tml.slack.com/archives/C0PROD/p1?thread_ts=1.1&cid=C0PROD"
LATER = values.NOW + timedelta(minutes=4)
OWN_MARKUP = re.compile(
    r"<@U0[A-Z]+>|<#C0[A-Z]+>|<!date\^\d+\^\{date_short_pretty\} \{time_secs\}\|[-0-9: ]+UTC>|"
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
        return tuple(
            replace(values.CLAIMS[0], name=f"{self.word}-{number}", status=status, storage_class=self.word)
            for number in range(self.claims)
        )

    @property
    def diagnosis(self) -> Diagnosis:
        log = tuple(f"{self.word} {number}" for number in range(40))
        return Diagnosis(tuple(Finding(f"pod/{self.word}", self.word, self.word, log) for _ in range(6)))

    def goal(self, verb: Verb) -> Goal:
        match verb:
            case Verb.STOP:
                return stop.goal(self.discovery)
            case Verb.START:
                return start.goal(self.down(), {}, {})
            case Verb.RESTART:
                return restart.goal(self.discovery, None, downtime=True)

    def plan(self, verb: Verb) -> Plan:
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
        bare = self.done(Verb.START, traffic=Traffic(Traffic.NO_ADDRESS))
        yield "start done, replication not checked", replace(bare, goal=replace(bare.goal, unverified=True))

    def by_hand(self, verb: Verb) -> tuple[str, ...]:
        return tuple(line for wave in self.plan(verb).waves for step in wave for line in kubectl(step))

    def entries(self, one: Operation) -> list[Recorded]:
        """Every kind of entry, in the order in which they come."""
        told: list[tuple[str, Any]] = [
            ("begun", {"plan": self.plan(one.verb)}),
            ("taken", {"executor": self.word, "first": True}),
            ("taken", {"executor": self.word, "first": False}),
            ("entered", {"phase": one.phase, "limit": 60}),
        ]
        for step in (step for wave in self.plan(one.verb).waves for step in wave):
            data = {"action": step.action, "kind": step.workload.kind, "name": step.workload.name}
            data |= {"replicas": step.replicas, "uid": "uid", "attempts": 2, "undone": True}
            told += [("step", data), ("step-failed", {**data, "error": self.word}), ("step-done", data)]
            told.append(("arrived", {"workloads": [str(step.workload)]}))
        told += [("exit", Exit(self.word, "uid", self.word, code)) for code in (0, 1, 137)]
        told += [("slow", {"diagnosis": self.diagnosis}), ("slow", {"diagnosis": Diagnosis()})]
        told += [("finished", {}), ("late", {"verb": one.verb}), ("a kind of next year", {})]
        return [recorded(seq, kind, to_plain(data)) for seq, (kind, data) in enumerate(told, 1)]

    def proposal(self, verb: Verb, state: ProposalState = ProposalState.OPEN) -> Proposal:
        made = self.plan(verb)
        return Proposal(
            "pr-000001", verb, "prod", {"text": self.word}, made.digest, values.ALICE, values.OPS, self.word,
            values.NOW, LATER, state, operation="op-000001" if state is ProposalState.ACCEPTED else None,
        )  # fmt: skip

    def status(self, **changes: Any) -> Status:
        found = self.discovery
        states = (values.ready, values.unready, values.leaving, values.down)
        lines = tuple(Line(one, states[number % 4](one)) for number, one in enumerate(arranged(found.workloads)))
        return replace(Status(found, lines, None, None, (), Diagnosis()), **changes)

    def views(self) -> Iterator[tuple[str, Message]]:
        """Every view there is."""
        yield from self.operation_views()
        yield from self.refusals()
        for verb in Verb:
            made, proposal = self.plan(verb), self.proposal(verb)
            yield f"{verb} prod?", answers.card(proposal, made, changed=False)
            yield f"{verb} prod?", answers.card(proposal, made, changed=True)
            yield f"plan to {verb} prod", answers.plan("prod", made)
            yield f"{operation.DOING[verb]} prod (op-", answers.begun(self.operation(verb))
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
        yield "Kubernetes does not answer", answers.unreachable(errors.Retryable(self.word))
        yield "Kubernetes does not let", answers.unreachable(errors.Forbidden(self.word))
        yield "the bot's database", answers.unrecorded()
        yield "this went wrong", answers.broken()

    def operation_views(self) -> Iterator[tuple[str, Message]]:
        for _, one in self.outcomes():
            lead = {
                State.RUNNING: f"{operation.DOING[one.verb]} prod",
                State.DONE: f"{operation.DONE[one.verb]} prod",
                State.FAILED: f"FAILED to {one.verb} prod",
            }[one.state]
            entries = self.entries(one)
            yield lead, operation.live(one, entries)
            yield lead, operation.bare(one)
            for part in (entries[n : n + 20] for n in range(0, len(entries), 20)):
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
        ]


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
