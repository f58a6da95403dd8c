"""Third stage of a shard: its scores, and the output put in place."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from reviewllm.failpoints import reached
from reviewllm.generation.journal import journal_name
from reviewllm.generation.rows import score_rows
from reviewllm.generation.tasks import GenerationSpec, from_stream
from reviewllm.place import Place
from reviewllm.scoring.scorer import without_scores
from reviewllm.tables import GENERATIONS


class ShardScorer:
    """Ray Data actor: chooses among a shard's drafts, adds its scores, fails rows over the bound, and writes the task's output."""

    def __init__(self, spec: GenerationSpec) -> None:
        self._target = Place(spec.target)
        self._spec = spec

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score and write one shard; a second writer replaces it by an equally valid one.

        Returns one row: output, handed_back (the shard was not begun), rows, failed, prompt_tokens, completion_tokens,
        attributes_dropped (rows whose prompt does not show all attributes), and failures (JSON: class of failure to its rows).
        """
        (task,) = batch.to_pylist()
        if task["generations"] is None:
            return _counted(task["output"], None, 0)
        generations = from_stream(task["generations"])
        reached("score")
        spec = self._spec
        scored = (
            score_rows(
                generations,
                spec.variants[0].scoring,
                max_hallucination=spec.max_hallucination,
                max_copied_words=spec.max_copied_words,
                least_bad=spec.generation.if_no_draft_passes == "least-bad",
            )
            if spec.scored
            else without_scores(generations)
        )
        reached("stage")
        self._target.write_table(task["output"], scored, GENERATIONS)
        self._target.delete(journal_name(task["output"]))
        dropped = pc.sum(pc.less(generations["attributes_kept"], generations["attributes_given"])).as_py() or 0
        return _counted(task["output"], scored, dropped)


def _counted(output: str, scored: pa.Table | None, attributes_dropped: int) -> pa.Table:
    classes = Counter(name for name in scored["error_class"].to_pylist() if name) if scored else Counter[str]()
    row = {
        "output": output,
        "handed_back": scored is None,
        "rows": scored.num_rows if scored else 0,
        "failed": classes.total(),
        "prompt_tokens": (pc.sum(scored["prompt_tokens"]).as_py() or 0) if scored else 0,
        "completion_tokens": (pc.sum(scored["completion_tokens"]).as_py() or 0) if scored else 0,
        "attributes_dropped": attributes_dropped,
        "failures": json.dumps(classes),
    }
    return pa.Table.from_pylist([row])
