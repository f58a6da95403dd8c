"""Everything that the nightly report shows, as immutable values: the page and the JSON file are made from these alone."""

from __future__ import annotations

import datetime
import json
from typing import Literal

from pydantic import ConfigDict, FiniteFloat

from reviewllm.report.content import RESPONSIBLE_USE, GeneratedReview, Part

Verdict = Literal["fine", "look", "note", "unknown"]
Stability = Literal["steady", "drifted", "unknown"]

NOT_ENGLISH = "not English"  # the share of texts that some scores cannot read

LIMITS = (
    "Nothing here says whether a text is true or good. It says whether this night is like the nights before it.",
    "A slow drift, a little every night, moves the nights before along with it, and is seen in the trends only.",
    "Distributions are of a sample: at most 20,000 rows of a night, every so many-th of its rows, the same ones each time. In the "
    "nights before together, a very large night therefore counts as 20,000 rows. Means and counts are of all rows.",
    "Dead letters stand in the counts only: of a row that failed there is no text to measure.",
)


class Finding(Part):
    """A sentence of the summary, its verdict, the figures behind it, and, of a "look", its subject in a few words."""

    claim: str
    verdict: Verdict
    evidence: tuple[str, ...] = ()
    about: str = ""


class Drift(Part):
    """Whether something differs from the nights before: it does where `distance` is above `limit` (drift.py has the rule).

    `unknown`: there are too few rows, or no nights, to tell; without any rows both numbers are null.
    """

    stability: Stability
    distance: FiniteFloat | None
    limit: FiniteFloat | None


class Histogram(Part):
    """Shares of rows, 0 to 1, in bins between `edges`: tonight's, and the least and most of the nights before.

    What lies beyond the edges is counted in the outer bins. `low` and `high` are empty without a night to compare with.
    """

    edges: tuple[FiniteFloat, ...]
    tonight: tuple[FiniteFloat, ...]
    low: tuple[FiniteFloat, ...]
    high: tuple[FiniteFloat, ...]


class Column(Part):
    """A column of figures of this night: mean over `rows` rows, 5 %, 50 % and 95 % quantile of the sample, and its drift.

    `given`: it describes the purchases, not the texts. `mean_before` is over all rows of the nights compared with.
    """

    name: str
    meaning: str
    given: bool
    rows: int
    mean: FiniteFloat
    quantiles: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    mean_before: FiniteFloat | None
    drift: Drift
    histogram: Histogram


class Share(Part):
    """How many of how many, tonight and in the nights compared with (null: there are none)."""

    name: str
    meaning: str
    count: int
    of: int
    count_before: int | None
    of_before: int | None
    drift: Drift

    @property
    def share(self) -> float | None:
        """Tonight's, 0 to 1; None of no rows."""
        return self.count / self.of if self.of else None

    @property
    def share_before(self) -> float | None:
        """That of the nights before; None of no rows."""
        return self.count_before / self.of_before if self.of_before and self.count_before is not None else None


class Failure(Part):
    """A class of dead letters: how many, their share of the night's rows, what it means, and one message.

    `may_mend`: `replay` may succeed without anything being mended.
    """

    error_class: str
    count: int
    share: FiniteFloat
    share_before: FiniteFloat | None
    meaning: str
    may_mend: bool
    message: str


class Taken(Part):
    """What a night took, as its ledger row says; null where nothing tells. Costs and GPU hours are of all its runs."""

    model_config = ConfigDict(extra="ignore")  # the rest of the row is in the manifest

    run_rows: int | None = None
    run_tokens: int | None = None
    run_seconds: FiniteFloat | None = None
    start_seconds: FiniteFloat | None = None
    engines: int | None = None
    gpu_hours: FiniteFloat | None = None
    cost: FiniteFloat | None = None
    predicted_rows: int | None = None
    predicted_tokens: int | None = None
    predicted_seconds: FiniteFloat | None = None

    @property
    def working_seconds(self) -> float | None:
        """Of generation, without the start of the engines; None where it is not known, or nothing was generated."""
        if self.run_seconds is None or not self.run_rows:
            return None
        seconds = self.run_seconds - (self.start_seconds or 0.0)
        return seconds if seconds > 0 else None

    @property
    def rows_per_second(self) -> float | None:
        """Of all engines together."""
        return None if self.working_seconds is None or self.run_rows is None else self.run_rows / self.working_seconds

    @property
    def tokens_per_second(self) -> float | None:
        """Prompt and completion tokens, of all engines together."""
        return None if self.working_seconds is None or self.run_tokens is None else self.run_tokens / self.working_seconds


class NightRow(Part):
    """One night of the window; `compared`: tonight is compared with it. `means`: of every column that the night has."""

    date: datetime.date
    rows: int
    written: int
    failed: int
    length_stopped: int | None
    prompt_tokens: int
    completion_tokens: int
    fingerprint: str
    compared: bool
    taken: Taken
    rows_per_second: FiniteFloat | None
    tokens_per_second: FiniteFloat | None
    means: dict[str, FiniteFloat]


class Identity(Part):
    """What wrote the night. `fingerprints`: rows by fingerprint. `changed`: what differs from the night before (empty: nothing).

    `night_before` is null where no earlier night is published.
    """

    model: str
    adapter: str | None
    fingerprint: str
    fingerprints: dict[str, int]
    code_version: str
    schema_version: int
    with_rating: bool | None
    night_before: datetime.date | None
    changed: tuple[str, ...]


class Star(Part):
    """Mean sentiment of the texts for purchases of so many stars and its standard error, and both of the nights before."""

    stars: int
    rows: int
    mean: FiniteFloat
    error: FiniteFloat
    mean_before: FiniteFloat | None
    error_before: FiniteFloat | None


class NightReport(Part):
    """All of a nightly report; `nights` are the nights of the window, oldest first, and this one as the last."""

    title: str
    created_at: datetime.datetime
    where: str
    date: datetime.date
    published_at: datetime.datetime
    findings: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    rows: int
    written: int
    failed: int
    superseded_then: int
    superseded_since: int
    failures: tuple[Failure, ...]
    shares: tuple[Share, ...]
    identity: Identity
    columns: tuple[Column, ...]
    stars: tuple[Star, ...]
    nights: tuple[NightRow, ...]
    samples: tuple[GeneratedReview, ...]
    rules: tuple[str, ...] = ()
    limits: tuple[str, ...] = LIMITS
    responsible_use: str = RESPONSIBLE_USE

    @property
    def figures(self) -> tuple[Column | Share, ...]:
        """All of whose drift the report tells."""
        return (*self.columns, *self.shares)

    @property
    def unread(self) -> Share | None:
        """The texts that are not English, where there are any."""
        return next((share for share in self.shares if share.name == NOT_ENGLISH), None)

    @property
    def tonight(self) -> NightRow:
        """This night's row."""
        return self.nights[-1]

    @property
    def compared(self) -> tuple[NightRow, ...]:
        """The nights that this one is compared with."""
        return tuple(night for night in self.nights if night.compared)


def nightly_json(report: NightReport) -> str:
    """Write a report as JSON with sorted keys, which `NightReport.model_validate_json` reads back to an equal one."""
    return json.dumps(report.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
