"""What people are told of losses, configuration and addresses: word for word, and never more than is known."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import status
from bot.views import answers
from bot.views import approval as cards
from bot.views import operation as views
from bot.views.addresses import address_lines
from bot.views.configuration import configuration_lines, verdict
from bot.views.losses import HEADS, SAYS, lost_lines
from bot.views.thread import thread
from lifecycle.approval import Approval, Terms
from lifecycle.checks import Checked
from lifecycle.decide import start
from lifecycle.diagnosis import Diagnosis
from lifecycle.losses import GENERAL, Mode, Way, holdings, ways_back
from lifecycle.model import Component, Verb
from lifecycle.observed import Address, Discovery, Forwarding, Stream
from lifecycle.operation import Goal, Operation, Outcome, State
from lifecycle.plain import to_plain
from lifecycle.plan import Plan
from lifecycle.snapshots import Cutting, Member, Temperature
from sandbox.slack.blocks import MESSAGE, faults_in_blocks, faults_in_view
from tests.bot.views.reading import texts
from tests.bot.views.world import recorded
from tests.fakes import values
from tests.lifecycle.test_losses import STREAMS, TEMPLATES, goal

CLAIM = "sqlvol-mysql-set-0-0"
SYNCHRONISED = "can be synchronised again if MOM answers and the key is valid"
NEVER = re.compile(r"come[s]? back|will be|is restored|restores itself", re.IGNORECASE)
"""Promises that nobody can make of a tethered cluster's configuration."""


def said(component: Component, lines: list[str]) -> str:
    return next(line for line in lines if f"• {TEMPLATES[component]}-" in line)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("tethered", f"• {CLAIM}: the API configuration: {SYNCHRONISED}"),
        ("untethered", f"• {CLAIM}: the API configuration: untethered, nothing else has it"),
        ("", f"• {CLAIM}: the API configuration: whether the cluster is tethered is unknown, which counts as lost"),
    ],
)
def test_of_the_configuration_is_said_what_the_mode_allows(mode: str, words: str) -> None:
    made = goal(mode)
    lines = lost_lines(made, ways_back(made))
    assert lines[0] == HEADS[Way.KEPT]
    assert said(Component.SQL, lines) == words


def test_each_log_stream_is_shown_with_what_is_known_of_it() -> None:
    made = goal()
    assert said(Component.LOG, lost_lines(made, ways_back(made))) == (
        "• logvol-log-set-0-0: logs not forwarded (DEFAULT): all that have no setting of their own; "
        "logs unknown whether forwarded, counted as lost: verbose; forwarded, so elsewhere too: access"
    )
    unread = goal(streams=())
    assert said(Component.LOG, lost_lines(unread, ways_back(unread))) == (
        "• logvol-log-set-0-0: logs unknown whether forwarded, counted as lost: all that have no setting of their own"
    )


def test_what_else_the_volumes_hold_is_said_in_a_line_each() -> None:
    made = goal()
    lines = lost_lines(made, ways_back(made))
    assert said(Component.NOSQL, lines).endswith(": OAuth tokens; portal content; (the registry forms again)")
    assert said(Component.CACHE, lines).endswith(": nothing that matters")
    assert said(Component.REPORTING, lines).endswith(": dashboards, metrics and logs of reporting")
    assert len(lines) == 1 + len(TEMPLATES)


def test_without_any_way_back_it_is_said_first_and_in_strong_words() -> None:
    made = goal("untethered")
    ways = ways_back(made) | {
        CLAIM: Way.NONE,
        "cachevol-cache-set-0-0": Way.NONE,
        "nosqlvol-cass-set-0-0": Way.SNAPSHOT,
    }
    lines = lost_lines(made, ways)
    assert [lines.index(head) for head in HEADS.values()] == [0, 3, 6], "the worst first"
    assert "LOST FOR GOOD with this delete" in lines[0]
    assert lines[1] == f"• {CLAIM}: *the API configuration: untethered, nothing else has it*"
    assert lines[2] == "• cachevol-cache-set-0-0: nothing that matters", "no alarm for what nobody misses"


def test_many_volumes_of_one_kind_are_one_line_unless_they_are_lost_for_good() -> None:
    made = goal(replicas=9)
    assert said(Component.SQL, lost_lines(made, ways_back(made))).startswith(f"• {CLAIM} and 8 more of sql: ")
    assert f"{CLAIM}, sqlvol-mysql-set-0-1, " in said(Component.SQL, lost_lines(made, {}))


def test_every_thing_on_a_volume_has_its_words() -> None:
    every = [
        (one.content, one.fate)
        for component in (*TEMPLATES, None)
        for mode in Mode
        for one in holdings(component, mode, STREAMS)
    ]
    assert {*every} == {*SAYS}


def approval_of(made: Goal) -> Approval:
    plan = Plan(Verb.DELETE, values.TARGET, made, (), ())
    terms = Terms(1, (("@S0LEADS",),))
    return Approval(
        "ap-000001", Verb.DELETE, "prod", values.TARGET, values.ALICE, values.OPS, "moving", "delete prod",
        plan.digest, to_plain(plan), terms, values.NOW,
    )  # fmt: skip


@pytest.mark.parametrize("replicas", [1, 12])
@pytest.mark.parametrize("mode", ["tethered", "untethered", ""])
def test_card_and_dialog_name_the_losses_within_slacks_limits(mode: str, replicas: int) -> None:
    asked = approval_of(goal(mode, replicas=replicas))
    card, dialog = cards.live(asked, []), cards.modal(asked)
    assert faults_in_blocks(card["blocks"], MESSAGE) == []
    assert faults_in_view(dialog) == []
    for shown in ("\n".join(texts(card)), "\n".join(texts(dialog))):
        for line in lost_lines(goal(mode, replicas=replicas), ways_back(goal(mode, replicas=replicas))):
            assert line in shown
    assert len(card["blocks"]) < 12, "a phone is small"


def test_what_nobody_misses_is_no_alarm_and_what_a_snapshot_has_is_none() -> None:
    made = goal("tethered")
    cut = tuple(Member(claim.name, claim.uid, "1Gi", "csi", "class", "Delete") for claim in made.claims)
    for members, alarms in ((cut, 0), (cut[:-1], 1), ((), 1)):
        dialog = cards.modal(approval_of(replace(made, cutting=Cutting(Temperature.COLD, members))))
        assert [block["type"] for block in dialog["blocks"]].count("alert") == alarms
    only_cache = tuple(member for member in cut if "cachevol" not in member.claim)
    dialog = cards.modal(approval_of(replace(made, cutting=Cutting(Temperature.COLD, only_cache))))
    assert "nothing that matters" in "\n".join(texts(dialog))
    assert "alert" not in {block["type"] for block in dialog["blocks"]}


@given(
    mode=st.sampled_from(["tethered", "", "untethered"]),
    streams=st.lists(
        st.builds(Stream, st.sampled_from([GENERAL, "access", "<!channel>"]), st.sampled_from(Forwarding)), max_size=3
    ).map(tuple),
    way=st.sampled_from(Way),
)
def test_nothing_promises_that_it_comes_back_by_itself(mode: str, streams: tuple[Stream, ...], way: Way) -> None:
    made = goal(mode, streams)
    text = "\n".join(lost_lines(made, dict.fromkeys(ways_back(made), way)))
    assert not NEVER.search(text)
    assert "<!channel>" not in text
    assert (SYNCHRONISED in text) == (mode == "tethered")


def started(mode: str, checked: Checked | None, state: State = State.DONE) -> Operation:
    """On an sqlvol that was not there when it was planned."""
    down = {component: values.down(values.workload(component)) for component in Component}
    found: Discovery = values.discovery(down)
    found = replace(found, observed=replace(found.observed, claims=values.CLAIMS[:1]))
    made = replace(start.goal(found, {}, {}), mode=mode)
    outcome = Outcome(state, claims=values.CLAIMS, checked=checked)
    ended_at = values.NOW + timedelta(minutes=4)
    return replace(values.operation(made), state=state, outcome=outcome, ended_at=ended_at)


def thread_of(one: Operation) -> str:
    shown = thread(one, [recorded(1, "finished", {})])
    assert shown is not None
    assert faults_in_blocks(shown["blocks"], MESSAGE) == []
    return "\n".join(texts(shown))


WHY = [
    Checked(Checked.NO_CHECK),
    Checked(Checked.NOT_AS_EXPECTED),
    Checked(Checked.FAILED, "exit code 3"),
    Checked(Checked.UNHEARD, "not at its end after 30 s"),
    Checked(Checked.NOT_RUN, "no pod of cm is ready"),
    Checked(Checked.FORBIDDEN, "get and create pods/exec"),
]


@pytest.mark.parametrize("checked", WHY, ids=lambda one: one.verdict)
def test_until_the_check_passes_the_end_is_running_and_not_seen_wherever_it_is_told(checked: Checked) -> None:
    one = started("tethered", checked)
    assert verdict(one) == "running, configuration NOT seen"
    live = views.live(one, [])
    assert live["text"] == "Started prod, running, configuration NOT seen: patching"
    assert ":warning: *Started prod in 4m: running, configuration NOT seen*" in "\n".join(texts(live))
    thread = thread_of(one)
    assert ":warning: *prod is running, configuration NOT seen* after 4m" in thread
    assert f":warning: *configuration NOT seen*: {checked.verdict}" in thread
    assert checked.detail in thread
    assert f":warning: {CLAIM} is new: it was empty" in thread
    assert f"It {SYNCHRONISED}." in thread
    assert not NEVER.search(thread)
    history = "\n".join(texts(answers.history("prod", [(one, None)])))
    assert "done, running, configuration NOT seen" in history


def test_without_a_check_it_is_said_what_would_show_it() -> None:
    thread = thread_of(started("tethered", Checked(Checked.NO_CHECK)))
    assert "no check is configured. `configuration_check` in the bot's configuration would show it" in thread


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("untethered", "The cluster is untethered: only a backup, or the volume that was there before, has it."),
        ("", "Whether the cluster is tethered is unknown, so do not count on MOM."),
    ],
)
def test_where_else_the_configuration_may_be_depends_on_the_mode(mode: str, words: str) -> None:
    thread = thread_of(started(mode, Checked(Checked.NO_CHECK)))
    assert words in thread
    assert "MOM answers" not in thread


def test_a_configuration_that_is_seen_after_all_is_told_in_the_thread_and_nothing_is_missed_any_more() -> None:
    one = started("tethered", Checked(Checked.SEEN))
    entry = replace(recorded(2, "seen", {}), at=values.NOW + timedelta(minutes=64))
    shown = thread(one, [entry])
    assert shown is not None
    assert "*configuration seen after all*: the check passed 1h after the end" in "\n".join(texts(shown))
    assert verdict(one) == ""


@pytest.mark.parametrize("checked", [None, Checked(Checked.SEEN)])
def test_what_was_seen_or_not_in_question_is_plainly_started(checked: Checked | None) -> None:
    one = started("tethered", checked)
    assert verdict(one) == ""
    assert views.live(one, [])["text"] == "Started prod: patching"
    assert ":white_check_mark: *prod is ready*" in thread_of(one)
    assert ("configuration seen: the check passed" in thread_of(one)) == (checked is not None)


def test_a_failure_is_no_missed_configuration() -> None:
    one = started("tethered", Checked(Checked.FAILED), State.FAILED)
    assert verdict(one) == ""
    assert "NOT seen" not in views.headline(one)


def test_after_a_check_that_failed_on_the_old_bytes_no_volume_is_called_empty() -> None:
    one = started("tethered", Checked(Checked.FAILED, "exit code 3"))
    assert one.outcome is not None
    old = replace(one.goal, claims=values.CLAIMS)
    assert configuration_lines(old, one.outcome) == [
        ":warning: *configuration NOT seen*: the check fails (exit code 3)"
    ]


@pytest.mark.parametrize(
    ("last", "word"),
    [
        (None, "running"),
        (started("tethered", None), "running, configuration NOT seen"),
        (started("tethered", Checked(Checked.FAILED)), "running, configuration NOT seen"),
        (started("tethered", Checked(Checked.SEEN)), "running"),
    ],
)
def test_status_and_list_say_so_too(last: Operation | None, word: str) -> None:
    found = values.discovery()
    lines = tuple(status.Line(one, found.observed[one]) for one in found.workloads)
    assert status.Status(found, lines, None, last, (), Diagnosis()).word == word
    assert status.said("stopped", last, found) == "stopped", "what does not run shows nothing"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (
            Address("tm-svc", ("203.0.113.7",), ("198.51.100.1",)),
            ":warning: *change DNS*: tm-svc was at 203.0.113.7 and is at 198.51.100.1 now",
        ),
        (
            Address("tm-svc", ("203.0.113.7",), ("203.0.113.7",)),
            ":white_check_mark: tm-svc has the address 203.0.113.7, as before",
        ),
        (
            Address("tm-svc", ("a.example", "b.example"), ("b.example", "a.example")),
            ":white_check_mark: tm-svc has the address b.example, a.example, as before",
        ),
        (
            Address("tm-svc", ("203.0.113.7",), ()),
            ":warning: tm-svc has *no address yet*; it was 203.0.113.7: *change DNS* if it gets another one",
        ),
        (
            Address("<!channel>", ("&",), ("<b>",)),
            ":warning: *change DNS*: &lt;!channel&gt; was at &amp; and is at &lt;b&gt; now",
        ),
    ],
)
def test_an_address_says_whether_dns_has_to_follow(address: Address, words: str) -> None:
    assert address_lines([address]) == [words]
