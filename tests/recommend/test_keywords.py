"""Keywords by rule: telling words first."""

from __future__ import annotations

from recommend.shop import TITLES

from reviewllm.recommend.keywords import KeywordRule
from reviewllm.recommend.names import item_names


def test_keywords_are_the_words_of_the_purchases_the_rarest_first() -> None:
    rule = KeywordRule(item_names(list(TITLES), list(TITLES.values()), ids="ambiguous", max_chars=100))
    # "steel" is in three names, "rake" and "shovel" in one each, "gel" and "pens" in two.
    found = rule.keywords([["i0", "i3"], ["i5"], []])
    assert found[0][0] == "steel"  # in both purchases: 2 * (1 + ln(11/4)) = 4.0 beats 1 + ln(11/2) = 2.7
    assert set(found[0][1:]) == {"rake", "shovel"}
    assert set(found[1]) == {"gel", "pens"}
    assert found[2] == []


def test_keywords_where_no_name_has_a_word() -> None:
    rule = KeywordRule(item_names(["1", "2"], [None, "?"], ids="ambiguous", max_chars=100))
    assert rule.keywords([["1"], ["2"]]) == [[], []]
