"""Everything people read: Slack takes it, a phone shows the verdict, and nobody's words become the bot's."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.views import answers, operation
from bot.views.blocks import Message
from lifecycle import errors
from lifecycle.model import Verb
from tests.bot.views.gallery import every_refusal, views
from tests.bot.views.reading import finish, words, wrong_with
from tests.bot.views.world import World

TABLE = list(views(World("patching the nodes")))


@pytest.mark.parametrize(("lead", "shown"), TABLE, ids=[f"{number} {lead}" for number, (lead, _) in enumerate(TABLE)])
def test_slack_takes_every_view_and_its_notification_starts_with_the_verdict(lead: str, shown: Message) -> None:
    assert wrong_with(shown) == []
    assert shown["text"].lower().startswith(lead.lower())


def test_every_refusal_there_is_has_been_looked_at() -> None:
    def kinds(kind: type[errors.Refused]) -> set[type[errors.Refused]]:
        return {kind, *(below for sub in kind.__subclasses__() for below in kinds(sub))}

    assert {type(refusal) for refusal in every_refusal(World("x"))} == kinds(errors.Refused)


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


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(HOSTILE, st.text(max_size=20)), min_size=1, max_size=6).map("".join))
def test_hostile_words_stay_words(word: str) -> None:
    for _, shown in views(World(word)):
        assert wrong_with(shown) == []


@pytest.mark.parametrize("word", ["<!channel>", "```", "```\n<!channel>\n```", "&" * 4000, "x" * 10_000, "\ud800\x00"])
def test_the_worst_words_stay_words(word: str) -> None:
    for _, shown in views(World(word)):
        assert wrong_with(shown) == []


def test_a_cluster_of_three_zones_and_sixty_claims_stays_within_the_limits_and_is_shown_whole() -> None:
    big = World("data-mysql-set-0", zones=3, claims=60)
    for _, shown in views(big):
        assert wrong_with(shown) == []
    thread = finish(big.done(Verb.STOP))
    assert all(f"data-mysql-set-0-{number} " in thread for number in range(60))
    live = words(operation.live(big.operation(Verb.STOP), []))
    assert live.count(":white_circle:") == 21
    assert "tm-2" in live
    status = words(answers.status("prod", big.status(), None))
    assert all(workload.label in status for workload in big.discovery.workloads)
