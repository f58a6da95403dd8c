"""Content of a nightly report -> its summary in plain words, by rule: what the figures carry, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from reviewllm.evaluation.figures import MOST_UNREAD, is_unread
from reviewllm.report.nightly.content import Finding, NightReport
from reviewllm.report.nightly.drift import CHANCE, KS_BOUND, SHARE_BOUND
from reviewllm.report.nightly.drifted import drifted, untold
from reviewllm.report.nightly.failures import ENGINES_LOST
from reviewllm.report.nightly.measure import ENGLISH_COLUMNS
from reviewllm.report.nightly.spent import SLOW, TELLING_NIGHTS, TELLING_ROWS, cost, prediction, speed
from reviewllm.report.nightly.stars import CRITICAL, EXPECTED_RISE, FEWEST_ROWS, rises
from reviewllm.report.nightly.words import counted, percent

RULES = (
    "A night is compared with the earlier nights of the window that have its fingerprint; where that is new, with those of the "
    "fingerprint before.",
    "A column has drifted where the distance of Kolmogorov and Smirnov from the nights it is compared with (at some value, the "
    f"shares of rows at or below it differ by so much) is above {KS_BOUND:g}, and above what chance gives once in "
    f"{1 / CHANCE:,.0f} times.",
    f"A share has drifted where Cohen's h is above {SHARE_BOUND:g} (from 1 % to 4 %, or from 45 % to 55 %), and above chance "
    "likewise. Chance is reckoned with users, not rows, since a user's rows are alike.",
    "Where there are too few rows to see a drift of that size, or no night to compare with, nothing is called steady: it cannot "
    "be told yet.",
    f"Sentiment rises with the stars where no star lies below the one before it by more than {CRITICAL} standard errors, and the "
    f"last lies above the first by more. Stars need {FEWEST_ROWS} rows, and all together enough that a rise of {EXPECTED_RISE:g} "
    "would be seen. It wants a look too where the rise is less than half of that before, by more than as many standard errors.",
    f"{', '.join(ENGLISH_COLUMNS)} read English. Where more than {100 * MOST_UNREAD:g} % of the texts are not, a night has "
    "none of them, and is compared in none of them; the share of such texts is compared like any other.",
    f"A night is slow where its tokens per second and engine are below {SLOW:g} of the median of at least {TELLING_NIGHTS} nights "
    f"that it is compared with, and below each of them. Runs of fewer than {TELLING_ROWS} rows do not count.",
)


def findings(report: NightReport) -> tuple[Finding, ...]:
    """The summary: a headline that follows from the rest, then counts, drift, what wrote it, sentiment, speed and cost."""
    found = report.notes
    if report.rows:
        found = (
            _written(report),
            *_lost_engines(report),
            *drifted(report),
            *untold(report),
            *_identity(report),
            *_unread(report),
            *([] if _says_nothing(report) else [rises(report.stars, with_rating=report.identity.with_rating)]),
            speed(report),
            cost(report),
            *prediction(report),
            *report.notes,
        )
    return (_headline(report, found), *found)


def _headline(report: NightReport, found: Sequence[Finding]) -> Finding:
    subject = f"The night of {report.date}"
    looks = [finding.about for finding in found if finding.verdict == "look"]
    if looks:
        return Finding(claim=f"{subject} is published, and wants a look: {'; '.join(looks)}.", verdict="look")
    if not report.rows:
        return Finding(claim=f"{subject} is published and empty: no purchase was left to write.", verdict="note")
    drifts = [one.drift for one in report.figures]
    told = [drift for drift in drifts if drift.stability != "unknown"]
    if 2 * len(told) < len(drifts):
        claim = f"{subject} is published. Whether it is like the nights before cannot be told yet"
        claim += f", but for {len(told)} of {len(drifts)} figures." if told else "."
        return Finding(claim=claim, verdict="unknown")
    some = "" if len(told) == len(drifts) else f", as far as can be told, which is for {len(told)} of {len(drifts)} figures"
    return Finding(claim=f"{subject} is fine: it is like the nights before{some}.", verdict="fine")


def _written(report: NightReport) -> Finding:
    failed = report.shares[0]
    before = "" if failed.share_before is None else f", against {percent(failed.share_before)} in the nights before"
    claim = (
        f"{report.written:,} of {counted(report.rows, 'purchase')} have a generated review, {report.failed:,} failed "
        f"({percent(failed.share)}{before})."
    )
    evidence = tuple(f"{one.error_class}: {counted(one.count, 'row')}, {one.meaning}" for one in report.failures[:3])
    if not report.written:
        return Finding(claim=claim, verdict="look", evidence=evidence, about="nothing was written")
    if failed.drift.stability == "drifted":
        more = (failed.share or 0.0) > (failed.share_before or 0.0)
        about = "more rows failed than before" if more else ""
        return Finding(claim=claim, verdict="look" if more else "note", evidence=evidence, about=about)
    return Finding(claim=claim, verdict="fine" if failed.drift.stability == "steady" else "unknown", evidence=evidence)


def _lost_engines(report: NightReport) -> list[Finding]:
    lost = sum(one.count for one in report.failures if one.error_class in ENGINES_LOST)
    if not lost:
        return []
    about = f"engines died or hung on {counted(lost, 'row')}"
    claim = f"{about[0].upper()}{about[1:]}, twice on each by itself; the log of the night has their stacks."
    return [Finding(claim=claim, verdict="look", about=about)]


def _unread(report: NightReport) -> list[Finding]:
    """That some texts are not English, and that scores which read nothing else have no figures where these are too many."""
    share = report.unread
    if share is None or not share.count:
        return []
    counted_of = f"{share.count:,} of {counted(share.of, 'text')}"
    if _says_nothing(report):
        claim = f"{', '.join(ENGLISH_COLUMNS)}: {counted_of} cannot be scored by them, as they are not English."
        return [Finding(claim=claim, verdict="unknown")]
    claim = f"{', '.join(ENGLISH_COLUMNS)} leave out {counted_of}, which are not English."
    return [Finding(claim=claim, verdict="note")]


def _says_nothing(report: NightReport) -> bool:
    share = report.unread
    return share is not None and is_unread(share.count, share.of)


def _identity(report: NightReport) -> list[Finding]:
    identity, found = report.identity, []
    if identity.changed:
        changed = ", ".join(identity.changed)
        claim = f"The fingerprint is another than in the night before ({identity.night_before}): {changed}."
        found.append(Finding(claim=claim, verdict="note"))
    elif len({night.fingerprint for night in report.nights}) > 1 and report.compared:
        own = counted(len(report.compared), "night")
        claim = f"Other fingerprints ran in these nights too; this night is compared with {own} of its own."
        found.append(Finding(claim=claim, verdict="note"))
    if len(identity.fingerprints) > 1:
        claim = f"Its rows are of {len(identity.fingerprints)} fingerprints (--allow-mixed), and are measured together."
        found.append(Finding(claim=claim, verdict="note"))
    return found
