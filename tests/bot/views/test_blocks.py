"""What stands in a message is cut and quoted so that it stays what it is."""

import re

from bot.views.blocks import BLOCK_LIMIT, context, escape, message, preformatted, section
from tests.bot.views.reading import plain, wrong_in


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
