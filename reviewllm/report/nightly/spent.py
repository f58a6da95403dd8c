"""What a night took, in words: speed and cost against the nights before, and what was predicted."""

from __future__ import annotations

from statistics import median

from reviewllm.report.nightly.content import Finding, NightReport, Taken
from reviewllm.report.nightly.words import counted, duration, figure, percent

SLOW = (
    0.8  # of the median; between nights of the same fingerprint speed hardly moves, as nothing but hardware and load differ
)
TELLING_ROWS = 200  # of a run; the backfill's own prediction takes no speed from fewer either
TELLING_NIGHTS = 3


def speed(report: NightReport) -> Finding:
    """Rows and tokens per second, and whether that is slow, by the rule of the report."""
    taken = report.tonight.taken
    if taken.rows_per_second is None:
        return Finding(claim="How fast it was is not known: the ledger has no time of generation.", verdict="unknown")
    claim = f"It wrote {figure(taken.rows_per_second)} rows and {figure(taken.tokens_per_second)} tokens per second"
    if taken.run_rows and taken.run_rows < report.rows:
        claim += f" in its last run, which wrote {taken.run_rows:,} of the rows"
    mine = _telling_speed(taken)
    others = [its for night in report.compared if (its := _telling_speed(night.taken)) is not None]
    if mine is None or len(others) < TELLING_NIGHTS:
        return Finding(claim=f"{claim}. There are too few nights or rows to say whether that is slow.", verdict="unknown")
    usual = median(others)
    claim += f"; by engine {figure(mine)} tokens per second, {figure(usual)} in the median of the nights before."
    if mine < SLOW * usual and mine < min(others):
        return Finding(claim=claim, verdict="look", about=f"slow: {percent(round(mine / usual, 2))} of the usual speed")
    return Finding(claim=claim, verdict="fine")


def cost(report: NightReport) -> Finding:
    """Cost and GPU hours, and the cost of a thousand rows beside the median of the nights of the window."""
    taken = report.tonight.taken
    if taken.cost is None or taken.gpu_hours is None:
        return Finding(claim="What it cost is not known: the ledger does not say.", verdict="unknown")
    if not taken.gpu_hours:
        return Finding(claim="It reserved no GPU, so it has no GPU hours and no cost.", verdict="note")
    if not taken.cost:
        claim = f"It took {figure(taken.gpu_hours)} GPU hours; what they cost is known with --price-per-gpu-hour only."
        return Finding(claim=claim, verdict="note")
    claim = f"It cost {taken.cost:,.2f} for {figure(taken.gpu_hours)} GPU hours"
    others = [1000 * night.taken.cost / night.written for night in report.nights[:-1] if night.taken.cost and night.written]
    if report.written:
        claim += f", {1000 * taken.cost / report.written:,.2f} a thousand reviews"
        claim += f" ({median(others):,.2f} in the median of {counted(len(others), 'night')} before)" if others else ""
    return Finding(claim=f"{claim}.", verdict="note")


def prediction(report: NightReport) -> list[Finding]:
    """What the last run took beside what was predicted for it; nothing where nothing was."""
    taken = report.tonight.taken
    pairs = []
    if taken.predicted_tokens and taken.run_tokens:
        ratio = taken.run_tokens / taken.predicted_tokens
        pairs.append(f"{taken.run_tokens:,} tokens instead of {taken.predicted_tokens:,} ({ratio:.2f} times)")
    if taken.predicted_seconds and taken.working_seconds:
        ratio = taken.working_seconds / taken.predicted_seconds
        pairs.append(
            f"{duration(taken.working_seconds)} of generation instead of {duration(taken.predicted_seconds)} ({ratio:.2f} times)"
        )
    return [Finding(claim=f"Against its prediction it took {' and '.join(pairs)}.", verdict="note")] if pairs else []


def _telling_speed(taken: Taken) -> float | None:
    """Tokens per second of one engine; None where the run was too small to tell, or nothing is known."""
    if taken.tokens_per_second is None or not taken.engines or (taken.run_rows or 0) < TELLING_ROWS:
        return None
    return taken.tokens_per_second / taken.engines
