"""Sentences of a review that an NLI model finds contradicted by the product's data."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from reviewllm.attributes.serialise import value_text
from reviewllm.base_model import local_model_folder, model_config
from reviewllm.errors import ConfigError
from reviewllm.scoring.facts import read_known
from reviewllm.scoring.scorer import Product

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_MOST_SENTENCES = 30  # of a review
_BATCH = 32
_MOST_CHARACTERS = 5_000  # of what is known of a product; a model cuts it to its context in any case


def check_nli_model(name: str) -> int:
    """Find out whether an NLI model can be used, without loading it; returns the number of its label for a contradiction.

    Args:
        name: folder or hub name of a cross-encoder with a label for contradiction in its configuration.

    Raises:
        ConfigError: it is not there or not whole, or has no such label.
    """
    labels = model_config(local_model_folder(name, flag="--nli-model")).get("id2label") or {}
    wanted = [number for number, label in labels.items() if "contradict" in str(label).lower()]
    if len(wanted) != 1 or len(labels) < 2:
        raise ConfigError(
            f"--nli-model {name}: is no NLI model: expected one label 'contradiction' of several in its configuration "
            f"(id2label), found {', '.join(map(str, labels.values())) or 'none'}"
        )
    return int(wanted[0])


def read_nli_model(name: str) -> Callable[[Sequence[tuple[str, Product]]], list[float | None]]:
    """A function that tells for each text with its product the share of contradicted sentences, in %.

    Premise: the product's data as sentences; hypothesis: each sentence of the review. A sentence counts where contradiction is
    the likeliest label. None for a text without a sentence.

    Args:
        name: as `check_nli_model`.

    Raises:
        ConfigError: it cannot be read, or has no label for a contradiction.
    """
    wanted = check_nli_model(name)
    from sentence_transformers import CrossEncoder

    try:
        model = CrossEncoder(name, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ConfigError(f"--nli-model {name}: cannot be read as a cross-encoder: {error}") from error

    def contradicted(pairs: Sequence[tuple[str, Product]]) -> list[float | None]:
        sentences = [sentences_of(text) for text, _ in pairs]
        asked = [(facts_text(product), one) for (_, product), mine in zip(pairs, sentences, strict=True) for one in mine]
        distinct = list(dict.fromkeys(asked))
        if not distinct:
            return [None] * len(pairs)
        scores = model.predict(distinct, batch_size=_BATCH, show_progress_bar=False)
        likeliest = dict(zip(distinct, scores.argmax(axis=1).tolist(), strict=True))
        return [
            100 * sum(likeliest[facts_text(product), one] == wanted for one in mine) / len(mine) if mine else None
            for (_, product), mine in zip(pairs, sentences, strict=True)
        ]

    return contradicted


def sentences_of(text: str) -> list[str]:
    """The first 30 sentences of a text that have a letter.

    >>> sentences_of("It is red. Works!  5/5"), sentences_of("很好。我喜欢！")
    (['It is red.', 'Works!'], ['很好。', '我喜欢！'])
    """
    found = (part.strip() for part in _SENTENCE_END.split(text[:_MOST_CHARACTERS]))
    return [part for part in found if any(letter.isalpha() for letter in part)][:_MOST_SENTENCES]


def facts_text(product: Product) -> str:
    """What is known of a product, as sentences.

    >>> facts_text(Product("Kettle", '{"color": "red", "weight": {"value": 1, "unit": "kg"}}', []))
    'The product is Kettle. Its color is red. Its weight is 1 kg.'
    """
    known = read_known(product.attributes)
    facts = [f"Its {name.replace('_', ' ')} is {value_text(value)}." for name, value in known.items()]
    return " ".join([f"The product is {product.title}.", *facts])[:_MOST_CHARACTERS]
