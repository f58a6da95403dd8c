"""Pairs -> one annotator's page: a single HTML file that works from a folder, loads nothing, and does not tell the models."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

import reviewllm.report
from reviewllm.annotation.pairs import Pair
from reviewllm.report.templates import page_environment

_HERE = Path(__file__).parent
_REPORT = Path(reviewllm.report.__file__).parent  # the look is the report's, with what this page needs besides


def render_page(pairs: Sequence[Pair], *, export_id: str, annotator: str, order: random.Random) -> str:
    """Render the page of one annotator, with the pairs in an order of its own.

    Which of the two reviews is the real one is not said, and its side is drawn anew for each pair: meaning the same goes both
    ways, and who knows the author judges the author. Every text is escaped, whatever it holds; control characters become
    U+FFFD. A Content-Security-Policy allows this page's own script by its hash, and nothing else.

    Args:
        order: draws order and sides; one that cannot be repeated, so that they tell nothing about the models.
    """
    script = (_HERE / "annotator.js").read_text(encoding="utf-8")
    return (
        page_environment(_HERE, _REPORT)
        .get_template("annotator.html")
        .render(
            pairs=[(pair, order.sample([pair.reference, pair.generated], 2)) for pair in order.sample(pairs, len(pairs))],
            export_id=export_id,
            annotator=annotator,
            script=Markup(script),
            script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
