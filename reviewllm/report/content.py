"""Everything that a report shows, as immutable values: the page and the JSON file are made from these alone."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, JsonValue

from reviewllm.annotation.results import AnnotationResults
from reviewllm.evaluation.contenders import Kind
from reviewllm.evaluation.results import Evaluation
from reviewllm.evaluation.validation import Validation

Split = Literal["simple", "hard"]
Verdict = Literal["better", "worse", "mixed", "same", "unknown", "none"]
Outcome = Literal["higher", "lower", "no difference", "too few users"]  # of a comparison

LIMITS = (
    "The figures hold for the base, the data and the seeds named on this page. They do not carry over to a larger base.",
    "An interval shows how much a mean depends on which users were drawn. It does not show what another training run, "
    "another seed or another shop would give, and with few users it is too narrow.",
    "A baseline copies what somebody once wrote. Where it scores well, the score rewards the usual words of a review; it does "
    "not mean that the text fits the purchase.",
    "Sentiment and claims are read from words by rules made for English; of a text in another language they say nothing. The real "
    "reviews are scored too: only the distance from them tells something.",
    "ROUGE counts the words shared with the one review that the customer really wrote. The cosine of sentence embeddings "
    "measures nearness in meaning. Neither says whether a generated review is true.",
    "A generation that failed counts as 0 in every score.",
    "The paper's figures come from another base, another sample and other hardware; they stand here for orientation, "
    "and a difference from them proves nothing.",
)
RESPONSIBLE_USE = (
    "Generated reviews are drafts and material for analysis. No customer wrote them. Every row is marked as generated, "
    "with the model and adapter that wrote it, and that mark must stay with the text wherever it goes. Never publish a "
    "generated review as a customer's own words without that customer."
)


class Part(BaseModel):
    """A piece of the report: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Cell(Part):
    """One figure of one row: the mean over the repeats, and the mean of each end of their 95 % intervals.

    The ends are null for a figure of all texts together, `sd`, the standard deviation over the repeats, for one repeat. All are
    null where the score cannot read too many of the rows: `unread` of the `asked` ones, which are not among `n`.
    """

    value: FiniteFloat | None
    ci_low: FiniteFloat | None
    ci_high: FiniteFloat | None
    sd: FiniteFloat | None = None
    n: int
    unread: int = 0
    asked: int = 0

    @property
    def unread_of(self) -> str:
        """How many of how many the score cannot read.

        >>> Cell(value=None, ci_low=None, ci_high=None, n=10, unread=1200, asked=1210).unread_of
        '1,200 of 1,210'
        """
        return f"{self.unread:,} of {self.asked:,}"


class ScoreRow(Part):
    """A model with or without ratings in its prompts; `cells` by metric, `n` rows in each repeat."""

    model: str
    with_rating: bool
    kind: Kind
    n: int
    repeats: int
    cells: dict[str, Cell]


class PaperRow(Part):
    """A row as the paper prints it; `values` by metric, of those that it prints."""

    model: str
    with_rating: bool
    values: dict[str, float]


class ScoreTable(Part):
    """One of the paper's two tables; `rows` is empty where the split was not evaluated. `metrics`: its columns."""

    number: int
    split: Split
    metrics: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    paper: tuple[PaperRow, ...]


class FigureTable(Part):
    """Figures beside the scores, of one split; a cell is missing where no row counts."""

    split: Split
    figures: tuple[str, ...]
    rows: tuple[ScoreRow, ...]


class SliceRow(Part):
    """A model's figure in each group of a slice; a group is missing where it has no row that counts."""

    model: str
    with_rating: bool
    cells: dict[str, Cell]


class SliceTable(Part):
    """One figure by the groups of one slice of one split."""

    split: Split
    slice: str
    figure: str
    groups: tuple[str, ...]
    rows: tuple[SliceRow, ...]


class Compared(Part):
    """One model against another on the same rows, as `reviewllm.evaluation.comparisons` found it."""

    split: Split
    model: str
    with_rating: bool
    other: str
    other_with_rating: bool
    metric: str
    difference: FiniteFloat
    ci_low: FiniteFloat
    ci_high: FiniteFloat
    effect_size: FiniteFloat | None
    p_corrected: FiniteFloat
    users: int
    n: int
    verdict: Outcome


class Finding(Part):
    """A sentence of the summary, the verdict that it carries, and the figures behind it."""

    claim: str
    verdict: Verdict
    evidence: tuple[str, ...] = ()


class Doubt(Part):
    """A claim of a text, its characters `start` to `end`, that the product's data contradict or do not support."""

    start: int
    end: int
    kind: str
    verdict: Literal["contradicted", "unsupported"]


class Output(Part):
    """What one model wrote for an example: a review (null where it failed), else an error; `scores` may be null.

    `chosen` says of which drafts the review was chosen and why; null where it was asked for alone, or failed.
    """

    model: str
    with_rating: bool
    review: str | None
    error: str | None
    scores: dict[str, FiniteFloat | None]
    chosen: str | None = None
    doubts: tuple[Doubt, ...] = ()


class Prompt(Part):
    """The text of a prompt, decoded from the token ids that the models were given."""

    with_rating: bool
    prompt: str


class Entry(Part):
    """One of the user's own reviews."""

    title: str
    rating: float
    review: str


class Example(Part):
    """One evaluated purchase with the real review and what each model wrote.

    `history` holds the newest of the user's `reviews_of_user` reviews, `prompts` is empty where they were not kept. `attributes`
    are the product's, name to text, and `doubts` the real review's. Evidence are reviews by others; null where not asked for.
    """

    example_id: str
    split: Split
    category: str
    title: str
    rating: float
    reference: str
    doubts: tuple[Doubt, ...] = ()
    attributes: dict[str, str] = {}
    reviews_of_user: int = 0
    history: tuple[Entry, ...] = ()
    item_evidence: tuple[Entry, ...] | None = None
    neighbour_evidence: tuple[Entry, ...] | None = None
    prompts: tuple[Prompt, ...] = ()
    outputs: tuple[Output, ...]


class Case(Part):
    """An example that a rule chose, and the rule in words; `figure` says how it came out."""

    rule: str
    figure: str
    example: Example


class GeneratedReview(Part):
    """A row of a night, always generated, never a customer's."""

    example_id: str
    item_id: str
    category: str
    rating: float
    review: str


class Backfill(Part):
    """The newest published night; `folder` is relative to the output folder, `adapter` is null for the bare base."""

    folder: str
    model: str
    adapter: str | None
    fingerprint: str
    rows: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    seconds: FiniteFloat
    samples: tuple[GeneratedReview, ...]


class Step(Part):
    """What a step read and wrote; null where a count has no meaning there. `counts`: whatever else it counted."""

    step: str
    model_config = ConfigDict(extra="ignore")  # the jobs may record more

    rows_in: int | None
    rows_out: int | None
    seconds: FiniteFloat
    counts: dict[str, int]


class Report(Part):
    """All of a report. Parts that a run did not make are empty or null, and the page says so in a sentence.

    `generations` and `failed` count the rows behind the tables, `blank` those of `failed` whose text was empty; null where the
    rows were not kept. Of `evaluated` examples `examples` holds some. `lengths` are the words of the texts of each row of the
    tables and of the real reviews, `ratings` the examples by stars of each split.
    `config` holds the resolved configuration of each job by its name. `untold` says of which models the likelihood of the real
    reviews is not told, and why.
    """

    title: str
    created_at: datetime
    run: str
    findings: tuple[Finding, ...] = ()
    tables: tuple[ScoreTable, ...] = ()
    figures: tuple[FigureTable, ...] = ()
    grounded: tuple[FigureTable, ...] = ()
    likelihood: tuple[FigureTable, ...] = ()
    untold: tuple[str, ...] = ()
    comparisons: tuple[Compared, ...] = ()
    slices: tuple[SliceTable, ...] = ()
    generations: int | None = None
    failed: int | None = None
    blank: int | None = None
    examples: tuple[Example, ...] = ()
    evaluated: int = 0
    cases: tuple[Case, ...] = ()
    lengths: dict[str, tuple[int, ...]] = {}
    ratings: dict[str, dict[str, int]] = {}
    validation: Validation | None = None
    human: AnnotationResults | None = None
    evaluation: Evaluation | None = None
    backfill: Backfill | None = None
    steps: tuple[Step, ...] = ()
    config: dict[str, dict[str, JsonValue]] = {}
    versions: dict[str, str] = {}
    limits: tuple[str, ...] = LIMITS
    responsible_use: str = RESPONSIBLE_USE


def report_json(report: Report) -> str:
    """Write a report as JSON with sorted keys, which `Report.model_validate_json` reads back to an equal one.

    Raises:
        ValueError: the configuration holds NaN or an infinity, which JSON has no word for.
    """
    return json.dumps(report.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
