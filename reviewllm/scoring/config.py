"""Options of the scores that compare a text with a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from reviewllm.config import StageConfig

RougeWords = Literal["paper", "unicode"]


class ScoringConfig(StageConfig):
    """How texts are compared with references; all of it is in the fingerprint."""

    rouge_words: RougeWords = Field(
        "paper",
        description="what ROUGE counts: words of a-z and 0-9, as the paper does, or words of any script, which are the same on "
        "ASCII; Chinese, Japanese and Thai by character",
    )
    embedding: Path | None = Field(
        None,
        description="folder of a sentence-transformers model for sbert_cosine and relevance, as a multilingual one; default "
        "all-MiniLM-L6-v2, which reads English",
    )

    def from_root(self) -> ScoringConfig:
        """The same with the whole path of the embedding, as actors need it, who run elsewhere."""
        return self.model_copy(update={"embedding": self.embedding.resolve()}) if self.embedding else self


AS_THE_PAPER = ScoringConfig()
"""What is counted where nothing else is asked for."""
