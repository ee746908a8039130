"""Ids are short, readable and random."""

import re
from random import Random, SystemRandom

from storage.ids import new_id


def test_an_id_is_the_prefix_and_six_lower_case_crockford_characters() -> None:
    random = SystemRandom()
    for _ in range(500):
        assert re.fullmatch(r"op-[0-9a-hjkmnp-tv-z]{6}", new_id("op", random))


def test_the_randomness_is_an_argument() -> None:
    assert new_id("pr", Random(1)) == new_id("pr", Random(1)) != new_id("pr", Random(2))
