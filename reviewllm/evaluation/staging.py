"""Where an evaluation puts what its models have written, until all of them are done: a re-run goes on from there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reviewllm.errors import RaceError
from reviewllm.evaluation.contenders import Contender
from reviewllm.generation.tasks import Piece, Task
from reviewllm.generation.unfinished import is_finished
from reviewllm.place import Place
from reviewllm.sft.adapter import examples_digest

STAGING = ".metrics-"
_LOCK = ".metrics.lock"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Let one evaluation or ranking at a time work on an output folder; the lock is gone with the process, however that ends.

    Raises:
        RaceError: another one is at work.
    """
    out.mkdir(parents=True, exist_ok=True)
    with open(out / _LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RaceError(f"{out}: another job is at work on this folder; wait for it, or name another --out") from error
        yield


class Staging:
    """A folder beside the metrics, named by everything that decides the rows: other work never finds them."""

    def __init__(
        self,
        out: Path,
        shards: Sequence[Path],
        contenders: Sequence[Contender],
        *,
        reference_tokens: int = 0,
        history_worth: bool = False,
    ) -> None:
        """Take up what an earlier run of the same evaluation has left, and remove what other evaluations left.

        Args:
            reference_tokens: of a real review whose likelihood is told; 0 for none.
            history_worth: whether it is told behind the prompt without the history too.
        """
        told = [reference_tokens, history_worth]
        decides = [examples_digest(shards), *(contender.variant.fingerprint for contender in contenders), *told]
        digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
        self.examples = out / "examples"
        self.folder = out / f"{STAGING}{digest[:16]}.tmp"
        self.reference_tokens, self.history_worth = reference_tokens, history_worth
        self._shards = shards
        for other in out.glob(f"{STAGING}*.tmp"):
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def tasks(self, contenders: Sequence[Contender], kind: Sequence[str]) -> list[Task]:
        """What the contenders of these kinds still have to write, `variant` by their place among all.

        Endpoints write everything again: their answers are in a journal, and what failed for want of one is asked again.
        """
        written = Place(str(self.folder))
        wanted = [
            Task([Piece(str(shard.relative_to(self.examples)))], number, self.output(number, contender, shard))
            for number, contender in enumerate(contenders)
            if contender.kind in kind
            for shard in self._shards
        ]
        return [
            task for task in wanted if contenders[task.variant].kind == "endpoint" or not is_finished(written, task.output)
        ]

    @staticmethod
    def output(number: int, contender: Contender, shard: Path) -> str:
        """The name of a contender's generations of a shard: `generations/<repeat>/<number>-<split>-<shard>`."""
        return f"generations/{contender.variant.repeat}/{number}-{shard.parent.name}-{shard.name}"
