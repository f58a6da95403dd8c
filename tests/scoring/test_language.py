"""What is taken for English, of short real and made-up reviews."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reviewllm.scoring.language import reads_english

OTHERS = [
    "Tolle Gitarre, der Klang ist warm und voll.",
    "Leider nach zwei Wochen kaputt.",
    "Tolles Produkt",
    "Très bon produit, conforme à la description.",
    "Le manche s'est cassé au bout d'un mois.",
    "Muy buen producto, llegó antes de lo previsto.",
    "No funciona, una estafa.",
    "Ottimo prodotto, arrivato in tempo.",
    "Goede kwaliteit, snelle levering",
    "bahut accha product hai",
    "音がとても良いです。",
    "非常差",
    "Отличный товар, 10/10",
    "아주 좋아요",
    "منتج رائع",
]
ENGLISH = [
    "Works as described.",
    "Great café table",
    "The batteries die fast",
    "Perfect",
    "10/10",
    "👍👍",
    "",
    "BOWIE",
    "I'd buy it",
]


@pytest.mark.parametrize("text", OTHERS)
def test_reads_english_nothing_else(text: str) -> None:
    assert not reads_english(text)


@pytest.mark.parametrize("text", ENGLISH)
def test_reads_english_and_what_is_in_no_language(text: str) -> None:
    assert reads_english(text)


def test_reads_english_of_real_reviews(shared_data: Callable[[str], Path]) -> None:
    with gzip.open(shared_data("data/amazon_2014") / "reviews_Musical_Instruments_5.json.gz") as lines:
        texts = [json.loads(line)["reviewText"] for line in lines]
    taken_for_others = [text for text in texts[:6_000] if not reads_english(text)]
    assert all(word in " ".join(taken_for_others) for word in ("producto", "Excelente"))  # they are there, and are Spanish
    assert len(taken_for_others) <= 6
