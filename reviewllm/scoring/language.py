"""Can a score that was made for English read a text?

By words, without a model: those that English uses (scikit-learn's stop words, and VADER's lexicon, which has what reviews say)
against those that other languages in Latin letters use most in reviews. Of 13,707 real English reviews (Musical Instruments 2014
and the 24 categories of Amazon Reviews 2023) it takes ten for no English, and those are Spanish.

Its limit: a text of two or three words that stands in no list is taken for English, and so is a language that is not listed
where it is written without any letter that English lacks. One text has one language: of a mixed one the commoner words decide.
"""

from __future__ import annotations

import re
from functools import lru_cache

VERSION = "1"  # raise it with any change of what is taken for English

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_MOST_CHARACTERS = 5_000  # of a text; a longer one is decided by then
_LAST_LATIN = "\u024f"  # of the letters of European languages
_VIETNAMESE = ("\u1e00", "\u1eff")
# The commonest words of each language that English does not use, or seldom, and what its reviews say.
_OTHERS = {
    "german": (
        "der die das und ist nicht ich ein eine einen einem einer mit sehr auf für sich aber auch nur es gut wie noch "
        "nach bei zu zum zur dem den im wir sie habe sind wird wurde kann mir mich wenn gute guter gutes tolles toller "
        "tolle schlecht schlechte qualität produkt produkte leider immer alles gekauft lieferung preis ware wieder "
        "klasse einfach funktioniert kaputt empfehlen zufrieden schnell schnelle danke nie kein keine perfekt"
    ),
    "french": (
        "le la les et est une dans pour je pas sur avec ce cette il elle vous nous qui mais très bien bon bonne produit "
        "qualité livraison ne du au aux ces sont été être fait j'ai c'est n'est rien tout comme acheté parfait déçu "
        "mauvais mauvaise merci prix conforme rapide facile"
    ),
    "spanish": (
        "el los las y es una por para muy pero lo su como bien buen bueno buena calidad producto precio llegó llego más "
        "está esta este del al que todo excelente recomiendo mal malo gracias funciona perfecto tal compra rápido "
        "bonito"
    ),
    "italian": (
        "il lo gli di è che per una sono molto ma non questo questa ottimo ottima buono prodotto qualità prezzo ho "
        "della del anche tutto bella bello comprato consiglio arrivato perfetto soldi pessimo"
    ),
    "portuguese": (
        "os um uma não muito com para é da produto qualidade bom boa ótimo mais chegou recomendo gostei preço veio "
        "comprei entrega perfeito péssimo"
    ),
    "dutch": (
        "de het een en niet van ik dat voor zijn op maar heel goed goede erg ook naar deze werkt mooi mooie prijs "
        "kwaliteit tevreden snel slecht niets geen wel"
    ),
    "nordic": (
        "och att det som på är inte jag med ett mycket har og ikke jeg meget godt fungerar fungerer produkten kvalitet "
        "dårlig dålig veldig"
    ),
    "polish": "nie jest się na z bardzo że dobry dobra produkt jak polecam ale szybko jakość jakości wszystko",
    "czech": "je na že velmi dobrý výrobek pro ale není",
    "romanian": "și nu este foarte bun bună cu produs produsul pentru mai",
    "turkish": "ve bir çok bu için iyi güzel ürün ama değil tavsiye ederim kaliteli kötü",
    "indonesian": "yang dan ini itu tidak bagus sangat barang sesuai untuk dengan saya cepat murah",
    "hindi": "hai nahi nahin bahut accha acha achha bhi ka ki ke mein yeh",
    "finnish": "ja ei hyvä tuote oli mutta todella",
    "hungarian": "és nagyon nem jó egy hogy ez termék",
}


def reads_english(text: str) -> bool:
    """Whether a text is English, as far as it is in any language: one without a letter, as "10/10" or an emoji, is.

    >>> [reads_english(text) for text in ("Works as described.", "Sehr gut, gerne wieder", "非常好", "Muy bueno", "5/5")]
    [True, False, False, False, True]
    """
    text = text[:_MOST_CHARACTERS]
    letters = sum(map(str.isalpha, text))
    if not letters:
        return True
    if 2 * sum(character.isalpha() and _is_latin(character) for character in text) < letters:
        return False
    english, others = _lists()
    found = _WORD.findall(text.lower().replace("’", "'"))
    foreign = sum(word in others or not word.replace("'", "").isascii() for word in found)
    return foreign <= sum(word in english for word in found)


def _is_latin(character: str) -> bool:
    return character <= _LAST_LATIN or _VIETNAMESE[0] <= character <= _VIETNAMESE[1]


@lru_cache(maxsize=1)
def _lists() -> tuple[frozenset[str], frozenset[str]]:
    """The words of English, and those of other languages; no word is in both."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    others = frozenset(word for listed in _OTHERS.values() for word in listed.split())
    english = frozenset(word for word in SentimentIntensityAnalyzer().lexicon if word.isalpha()) | ENGLISH_STOP_WORDS
    return english - others, others
