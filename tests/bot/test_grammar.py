"""The words: what each line means, what is answered to the others, and that nothing else ever happens."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands import (
    Approvals,
    Approve,
    Change,
    Command,
    Delete,
    Deny,
    Help,
    History,
    List,
    PlanOf,
    Restart,
    Restore,
    Snapshot,
    Snapshots,
    Start,
    Status,
    Stop,
    Verify,
    Whoami,
    Withdraw,
)
from bot.grammar import USAGES, parse
from bot.line import normalised, unescaped
from lifecycle.errors import NotUnderstood
from lifecycle.model import Component
from lifecycle.snapshots import Temperature

CLUSTERS = ("prod", "staging")
PLAN = "plan stop|start|restart|snapshot|verify|delete|restore|purge CLUSTER [...]"
STOP = "stop CLUSTER [--snapshot|--no-snapshot] [--remove [--keep-services|--release-services]] [because REASON]"
NOSQL, SQL, TM, REPORTING = Component.NOSQL, Component.SQL, Component.TM, Component.REPORTING


def refusal(text: str, clusters: tuple[str, ...] = CLUSTERS) -> str:
    with pytest.raises(NotUnderstood) as raised:
        parse(text, clusters)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("", Help()),
        ("   ", Help()),
        ("help", Help()),
        ("help stop", Help()),
        ("list", List()),
        ("whoami", Whoami()),
        ("status prod", Status("prod")),
        ("history", History()),
        ("history staging", History("staging")),
        ("stop prod", Stop("prod")),
        ("stop prod because of maintenance", Stop("prod", "of maintenance")),
        ("stop prod because: maintenance", Stop("prod", "maintenance")),
        ("stop prod maintenance  tonight", Stop("prod", "maintenance  tonight")),
        ("stop prod - maintenance", Stop("prod", "maintenance")),
        ("stop prod – maintenance – again", Stop("prod", "maintenance – again")),
        ("stop prod because", Stop("prod")),
        ("stop prod because tm is on fire", Stop("prod", "tm is on fire")),
        ("stop prod because --force was typed", Stop("prod", "--force was typed")),
        ("stop prod because because", Stop("prod", "because")),
        ("STOP Prod BECAUSE Of Me", Stop("prod", "Of Me")),
        ("/tml stop prod", Stop("prod")),
        ("verify prod", Verify("prod")),
        ("verify prod op-7k2m9x", Verify("prod", "op-7k2m9x")),
        ("verify prod *OP-7K2M9X*, because an auditor asks", Verify("prod", "op-7k2m9x", "an auditor asks")),
        ("verify prod because op-7k2m9x looks odd", Verify("prod", None, "op-7k2m9x looks odd")),
        ("plan verify prod op-7k2m9x", PlanOf(Verify("prod", "op-7k2m9x"))),
        ("start prod", Start("prod")),
        ("start prod reporting=1", Start("prod", counts={REPORTING: 1})),
        ("start prod reporting=0 nosql=3 all done", Start("prod", "all done", {REPORTING: 0, NOSQL: 3})),
        ("start prod nosql=99 because NOSQL=1 was little", Start("prod", "NOSQL=1 was little", {NOSQL: 99})),
        ("start prod Reporting=1", Start("prod", counts={REPORTING: 1})),
        ("restart prod", Restart("prod")),
        ("restart prod tm", Restart("prod", TM)),
        ("restart prod sql --downtime", Restart("prod", SQL, downtime=True)),
        ("restart prod --downtime sql because it hangs", Restart("prod", SQL, downtime=True, reason="it hangs")),
        ("restart prod tm new certificates", Restart("prod", TM, reason="new certificates")),
        ("restart prod --downtime", Restart("prod", downtime=True)),
        ("stop prod --remove", Stop("prod", removes=True)),
        ("stop prod —remove because of the night", Stop("prod", "of the night", removes=True)),
        ("stop prod --keep-services --remove for good", Stop("prod", "for good", None, True, True)),
        ("stop prod --remove --release-services", Stop("prod", "", None, True, False)),
        ("stop prod --keep-services", Stop("prod", keeps_services=True)),
        ("stop prod because --remove was typed", Stop("prod", "--remove was typed")),
        ("stop prod --no-snapshot --remove", Stop("prod", snapshot=False, removes=True)),
        ("plan stop prod --remove", PlanOf(Stop("prod", removes=True))),
        ("start prod --overwrite", Start("prod", overwrites=True)),
        ("start prod sql=1 --overwrite tm=2 it is time", Start("prod", "it is time", {SQL: 1, TM: 2}, True)),
        ("delete prod because it moves", Delete("prod", None, "it moves")),
        ("delete prod", Delete("prod")),
        ("delete prod it moves away", Delete("prod", None, "it moves away")),
        ("delete prod --keep-services because it moves", Delete("prod", True, "it moves")),
        ("delete prod --release-services because it moves", Delete("prod", False, "it moves")),
        ("delete prod --release-services", Delete("prod", False)),
        ("delete prod because --keep-services was typed", Delete("prod", None, "--keep-services was typed")),
        ("restore prod", Restore("prod")),
        ("restore prod because it was the wrong one", Restore("prod", reason="it was the wrong one")),
        ("restore prod kept", Restore("prod")),
        ("restore prod OP-7K2M9X because of bad data", Restore("prod", "op-7k2m9x", "of bad data")),
        ("restore prod `op-7k2m9x`", Restore("prod", "op-7k2m9x")),
        ("snapshot prod", Snapshot("prod")),
        ("snapshot prod cold because of the upgrade", Snapshot("prod", Temperature.COLD, "of the upgrade")),
        ("snapshot prod Hot", Snapshot("prod", Temperature.HOT)),
        ("snapshot prod nightly", Snapshot("prod", None, "nightly")),
        ("snapshots prod", Snapshots("prod")),
        ("stop prod --snapshot", Stop("prod", snapshot=True)),
        ("stop prod —no-snapshot because", Stop("prod", snapshot=False)),
        ("plan snapshot prod cold because of nothing", PlanOf(Snapshot("prod", Temperature.COLD))),
        ("approve ap-7k2m9x prod", Approve("ap-7k2m9x", "prod")),
        ("approve ap-7k2m9x elsewhere", Approve("ap-7k2m9x", "elsewhere")),
        ("deny ap-7k2m9x", Deny("ap-7k2m9x")),
        ("deny ap-7k2m9x not Today", Deny("ap-7k2m9x", "not Today")),
        ("deny ap-7k2m9x because not Today", Deny("ap-7k2m9x", "not Today")),
        ("withdraw ap-7k2m9x", Withdraw("ap-7k2m9x")),
        ("approvals", Approvals()),
        ("plan delete prod --keep-services because of nothing", PlanOf(Delete("prod", True))),
        ("plan restore prod because of nothing", PlanOf(Restore("prod"))),
        ("plan stop prod", PlanOf(Stop("prod"))),
        ("plan stop prod because of nothing", PlanOf(Stop("prod"))),
        ("plan start prod reporting=2", PlanOf(Start("prod", counts={REPORTING: 2}))),
        ("plan restart prod tm --downtime", PlanOf(Restart("prod", TM, downtime=True))),
    ],
)
def test_a_line_means_one_command(text: str, command: Command) -> None:
    assert parse(text, CLUSTERS) == command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("stop\u00a0prod", Stop("prod")),
        ("\u200bstop \u200bprod\ufeff", Stop("prod")),
        ("stop \u200b prod", Stop("prod")),
        ("“stop” ‘prod’", Stop("prod")),
        ("`/tml stop prod`", Stop("prod")),
        ("ｓｔｏｐ\u3000ｐｒｏｄ", Stop("prod")),
        ("start prod ｒｅｐｏｒｔｉｎｇ＝２", Start("prod", counts={REPORTING: 2})),
        ("restart prod sql —downtime", Restart("prod", SQL, downtime=True)),
        ("restart prod sql –downtime", Restart("prod", SQL, downtime=True)),
        ("restart prod sql -–downtime", Restart("prod", SQL, downtime=True)),
        ("restart prod sql ‑‑downtime", Restart("prod", SQL, downtime=True)),
        ("stop prod because “it’s” – really", Stop("prod", "“it’s” – really")),
        ("stop prod because\u00a0 a\u00a0b \u200b", Stop("prod", "a\u00a0b")),
        ("stop prod because a &lt; b &amp;&amp; c &gt; d", Stop("prod", "a < b && c > d")),
        ("stop prod because &amp;lt; is shown", Stop("prod", "&lt; is shown")),
        ("stop prod because <@U1|bob> said so", Stop("prod", "<@U1|bob> said so")),
        ("stop prod <@U1|bob> said so", Stop("prod", "<@U1|bob> said so")),
        ("stop\nprod\nbecause\nof this", Stop("prod", "of this")),
    ],
)
def test_what_copy_and_paste_did_is_undone_in_the_words_and_left_in_the_reason(text: str, command: Command) -> None:
    assert parse(text, CLUSTERS) == command


@pytest.mark.parametrize(
    "typed",
    [
        "AP-7K2M9X",
        "`ap-7k2m9x`",
        "*ap-7k2m9x*",
        "_ap-7k2m9x_",
        "(ap-7k2m9x)",
        "ap-7k2m9x,",
        "“AP–7k2m9x”",
        "ap‑7k2m9x",
        "\u200bap-7k2m9x",
        "&lt;ap-7k2m9x&gt;",
        "`*AP-7K2M9X*`.",
        "ａｐ－７ｋ２ｍ９ｘ",
    ],
)
@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("approve {} prod", Approve("ap-7k2m9x", "prod")),
        ("approve {} `Prod`", Approve("ap-7k2m9x", "prod")),
        ("deny {} not yet", Deny("ap-7k2m9x", "not yet")),
        ("withdraw {}", Withdraw("ap-7k2m9x")),
    ],
)
def test_an_id_is_understood_however_it_was_pasted(line: str, typed: str, command: Command) -> None:
    assert parse(line.format(typed), CLUSTERS) == command


def test_a_dash_in_a_cluster_name_may_be_any_dash() -> None:
    assert parse("status eu–west—1", ("eu-west-1",)) == Status("eu-west-1")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("stpo prod", "There is no command 'stpo'. Did you mean: /tml stop prod"),
        ("stpo prdo", "There is no command 'stpo'. Did you mean: /tml stop prod"),
        ("strat prod reporting=1", "There is no command 'strat'. Did you mean: /tml start prod reporting=1"),
        (
            "restrat prod tm --downtime x",
            "There is no command 'restrat'. Did you mean: /tml restart prod tm --downtime",
        ),
        ("stpo", f"There is no command 'stpo'. It is written: /tml {STOP}"),
        ("stpo elsewhere", f"There is no command 'stpo'. It is written: /tml {STOP}"),
        ("whoim", "There is no command 'whoim'. Did you mean: /tml whoami"),
        ("histroy prod", "There is no command 'histroy'. Did you mean: /tml history"),
        ("--help", "There is no command '--help'. Did you mean: /tml help"),
        (
            "plna stop prod",
            f"There is no command 'plna'. It is written: /tml {PLAN}",
        ),
        ("qqqq", "There is no command 'qqqq'. /tml help lists all there is."),
        ("prod stop", "The command comes first. Did you mean: /tml stop prod"),
        ("prod", "The command comes first. Did you mean: /tml status prod"),
        ("stop prdo", "There is no cluster 'prdo'. Did you mean: /tml stop prod"),
        (
            "restart prdo tm --downtime because x",
            "There is no cluster 'prdo'. Did you mean: /tml restart prod tm --downtime",
        ),
        ("plan stop prdo", "There is no cluster 'prdo'. Did you mean: /tml plan stop prod"),
        (
            "stop elsewhere",
            f"There is no cluster 'elsewhere'. Known: prod, staging. It is written: /tml {STOP}",
        ),
        ("stop", f"Which cluster? Known: prod, staging. It is written: /tml {STOP}"),
        ("stop because x", f"Which cluster? Known: prod, staging. It is written: /tml {STOP}"),
        ("plan", f"A plan of what? It is written: /tml {PLAN}"),
        ("plan stpo prod", "A plan of what? Did you mean: /tml plan stop prod"),
        ("plan prod", f"A plan of what? It is written: /tml {PLAN}"),
        ("start prod reporting=x", "'reporting=x': a count is a whole number from 0 to 99."),
        ("start prod reporting=", "'reporting=': a count is a whole number from 0 to 99."),
        ("start prod reporting=-1", "'reporting=-1': a count is a whole number from 0 to 99."),
        ("start prod reporting=−1", "'reporting=-1': a count is a whole number from 0 to 99."),
        ("start prod reporting=100", "'reporting=100': a count is a whole number from 0 to 99."),
        ("start prod reporting=1.5", "'reporting=1.5': a count is a whole number from 0 to 99."),
        ("start prod nosql=1 nosql=2", "There are two counts for nosql; give one."),
        ("start prod noslq=1", "There is no component 'noslq'. Did you mean: /tml start prod nosql=1"),
        (
            "start prod qq=1",
            "There is no component 'qq'. Components: nosql, log, cm, sql, cache, tm, reporting.",
        ),
        (
            "start prod reporting",
            (
                "How many of reporting? A count is written reporting=N. "
                "If it belongs to the reason: /tml start prod because reporting"
            ),
        ),
        ("restart prod chace", "There is no component 'chace'. Did you mean: /tml restart prod cache"),
        (
            "restart prod grafana",
            (
                "There is no component 'grafana'. Components: nosql, log, cm, sql, cache, tm, reporting. "
                "If it belongs to the reason: /tml restart prod because grafana"
            ),
        ),
        (
            "restart prod sql cache",
            (
                "Restart one component at a time, or leave it out for all of them. "
                "If it belongs to the reason: /tml restart prod sql because cache"
            ),
        ),
        (
            "restart prod sql --downtme",
            "`restart` has no option '--downtme'. Did you mean: /tml restart prod sql --downtime",
        ),
        ("restart prod -downtime", "`restart` has no option '-downtime'. Did you mean: /tml restart prod --downtime"),
        ("stop prod --remov", "`stop` has no option '--remov'. Did you mean: /tml stop prod --remove"),
        (
            "stop prod --downtime",
            f"`stop` has no option '--downtime'. It is written: /tml {STOP}",
        ),
        (
            "plan stop prod --x",
            f"`stop` has no option '--x'. It is written: /tml {PLAN}",
        ),
        (
            "stop prod tm is slow",
            (
                "`stop` takes one whole cluster, so 'tm' is too much here. "
                "If it belongs to the reason: /tml stop prod because tm is slow"
            ),
        ),
        (
            "stop prod staging",
            (
                "`stop` takes one whole cluster, so 'staging' is too much here. "
                "If it belongs to the reason: /tml stop prod because staging"
            ),
        ),
        ("delte prod because x", "There is no command 'delte'. Did you mean: /tml delete prod"),
        (
            "delete prdo --keep-services because x",
            "There is no cluster 'prdo'. Did you mean: /tml delete prod --keep-services",
        ),
        (
            "delete prod --keep-service because x",
            "`delete` has no option '--keep-service'. Did you mean: /tml delete prod --keep-services",
        ),
        (
            "delete prod --purge because x",
            (
                "`delete` has no option '--purge'. It is written: "
                "/tml delete CLUSTER [--keep-services|--release-services] because REASON"
            ),
        ),
        (
            "delete prod --keep-services --release-services",
            "Give one of --keep-services and --release-services, once.",
        ),
        (
            "stop prod --remove --keep-services --release-services",
            "Give one of --keep-services and --release-services, once.",
        ),
        (
            "stop prdo --remove because x",
            "There is no cluster 'prdo'. Did you mean: /tml stop prod --remove",
        ),
        (
            "start prod --overwrit",
            "`start` has no option '--overwrit'. Did you mean: /tml start prod --overwrite",
        ),
        (
            "delete prod --keep-services --keep-services",
            "Give one of --keep-services and --release-services, once.",
        ),
        (
            "delete prod tm",
            (
                "`delete` takes one whole cluster, so 'tm' is too much here. "
                "If it belongs to the reason: /tml delete prod because tm"
            ),
        ),
        ("restor prod", "There is no command 'restor'. Did you mean: /tml restore prod"),
        ("prod delete", "The command comes first. Did you mean: /tml delete prod"),
        (
            "restore prod --snapshot",
            "`restore` has no option '--snapshot'. It is written: /tml restore CLUSTER [SET|kept] [because REASON]",
        ),
        ("plan approve prod", f"A plan of what? It is written: /tml {PLAN}"),
        (
            "approve",
            ("Which approval? /tml approvals lists those that wait. It is written: /tml approve ID CLUSTER"),
        ),
        (
            "approve ap-7k2m9x",
            "Which cluster is it about? Type its name once more. It is written: /tml approve ID CLUSTER",
        ),
        (
            "approve prod ap-7k2m9x",
            "'prod' is no approval's id, such as ap-7k2m9x. Did you mean: /tml approve ap-7k2m9x prod",
        ),
        (
            "approve prod",
            "'prod' is no approval's id, such as ap-7k2m9x. It is written: /tml approve ID CLUSTER",
        ),
        (
            "approve op-7k2m9x prod",
            "'op-7k2m9x' is no approval's id, such as ap-7k2m9x. It is written: /tml approve ID CLUSTER",
        ),
        ("approve ap-7k2m9x prod now", "'now' is too much here. Did you mean: /tml approve ap-7k2m9x"),
        ("aprove ap-7k2m9x prod", "There is no command 'aprove'. Did you mean: /tml approve ap-7k2m9x prod"),
        ("aprove ap-7k2m9x", "There is no command 'aprove'. It is written: /tml approve ID CLUSTER"),
        ("dney AP-7K2M9X", "There is no command 'dney'. Did you mean: /tml deny ap-7k2m9x"),
        ("withdrawe `ap-7k2m9x`", "There is no command 'withdrawe'. Did you mean: /tml withdraw ap-7k2m9x"),
        ("deny no", "'no' is no approval's id, such as ap-7k2m9x. It is written: /tml deny ID [REASON]"),
        (
            "withdraw ap-7k2m9x because",
            "'because' is too much here. Did you mean: /tml withdraw ap-7k2m9x",
        ),
        ("aprovals", "There is no command 'aprovals'. Did you mean: /tml approvals"),
        ("approvals prod", "'prod' is too much here. Did you mean: /tml approvals"),
        ("deny ap-7k2m9x " + "x" * 501, "The reason has 501 characters; at most 500 are kept. Shorten it."),
        ("status prod staging", "'staging' is too much here. Did you mean: /tml status prod"),
        ("list prod", "'prod' is too much here. Did you mean: /tml list"),
        ("whoami because", "'because' is too much here. Did you mean: /tml whoami"),
        ("stop prod " + "x" * 501, "The reason has 501 characters; at most 500 are kept. Shorten it."),
    ],
)
def test_what_is_not_understood_gets_one_answer(text: str, answer: str) -> None:
    assert refusal(text) == answer


def test_the_only_cluster_is_suggested_and_not_taken() -> None:
    assert refusal("stop", ("prod",)) == "Which cluster? Did you mean: /tml stop prod"


def test_without_any_cluster_that_is_said() -> None:
    assert refusal("status prod", ()).startswith("There is no cluster 'prod'. None is known here.")


def test_many_clusters_are_not_all_listed() -> None:
    assert "c11 and 28 more." in refusal("stop zzzzzz", tuple(f"c{number}" for number in range(40)))


def test_a_reason_may_have_500_characters() -> None:
    assert parse("stop prod " + "x" * 500, CLUSTERS) == Stop("prod", "x" * 500)


@pytest.mark.parametrize("example", [example for usage in USAGES for example in usage.examples])
def test_every_example_of_the_table_is_understood(example: str) -> None:
    parse(example, CLUSTERS)


@pytest.mark.parametrize("usage", USAGES, ids=lambda usage: usage.name)
def test_every_usage_begins_with_its_name_and_has_a_line_of_help(usage: object) -> None:
    name, written, text = (getattr(usage, field) for field in ("name", "usage", "help"))
    assert written.split()[0] == name
    assert text
    assert "\n" not in text


def answer_to(text: str, clusters: tuple[str, ...] = CLUSTERS) -> str:
    """What is answered to what is not understood; empty when it is a command."""
    try:
        parse(text, clusters)
    except NotUnderstood as error:
        return str(error) or "nothing at all"
    return ""


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "stop {}",
        "start prod {}=1",
        "start prod nosql={}",
        "restart prod {}",
        "restart prod sql --{}",
        "stop prod tm {}",
        "status prod {}",
        "plan {}",
        "stpo prod {}",
        "start prdo {}=1",
        "delete prod --{}",
        "approve {} prod",
        "approve prod {}",
        "approve ap-7k2m9x prod {}",
        "aprove ap-7k2m9x {}",
        "deny {}",
        "withdraw ap-7k2m9x {}",
    ],
)
@pytest.mark.parametrize("sign", ["x", "<!channel> ", "`*_~ ", "ab "])
def test_an_answer_repeats_at_most_80_characters_on_one_line(text: str, sign: str) -> None:
    answer = answer_to(text.format(sign * 400))
    repeated = sum(len(match[0]) for match in re.finditer(f"(?:{re.escape(sign)})+", answer))
    assert repeated <= 80
    assert "\n" not in answer


WORDS = st.sampled_from(
    [
        *(usage.name for usage in USAGES),
        *CLUSTERS,
        *("tm", "sql", "nosql=2", "reporting=x", "because", "--downtime", "—downtime", "–", "stpo", "prdo"),
        *("ap-7k2m9x", "AP-7K2M9X", "`ap-7k2m9x`", "--keep-services", "--release-services"),
        *("“prod”", "ＴＭ", "\u200b", "prod\u00a0tm", "&amp;", "<@U1|bob>", "`", "/tml"),
    ]
)
LINES = st.lists(WORDS | st.text(max_size=6), max_size=7).map(" ".join)


@given(st.text() | LINES, st.lists(st.text(max_size=8), max_size=3))
def test_any_text_is_a_command_or_gets_an_answer(text: str, clusters: list[str]) -> None:
    assert answer_to(text) != "nothing at all"
    assert answer_to(text, tuple(clusters)) != "nothing at all"


def outcome(text: str) -> Command | str:
    """What came of it but for the reason, which keeps the person's own signs."""
    try:
        command = parse(text, CLUSTERS)
    except NotUnderstood as error:
        return type(error).__name__
    return dataclasses.replace(command, reason="") if isinstance(command, Change | Deny) else command


@given(st.text(max_size=150) | LINES)
def test_normalised_text_stays_as_it_is_and_means_the_same(text: str) -> None:
    plain = normalised(unescaped(text))
    assert normalised(plain) == plain
    if "&" not in plain:
        assert outcome(plain) == outcome(text)


@given(st.text(max_size=200))
def test_a_reason_is_kept_as_it_was_typed(reason: str) -> None:
    typed = reason.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    command = parse(f"stop prod because {typed}", CLUSTERS)
    assert isinstance(command, Stop)
    assert command.reason in reason
    assert normalised(command.reason) in normalised(reason)
