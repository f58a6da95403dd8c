"""What drifted, in words: the purchases apart from the texts, each with its likely reason."""

from __future__ import annotations

from collections.abc import Sequence

from reviewllm.report.nightly.content import Column, Finding, NightReport, Share
from reviewllm.report.nightly.words import counted, figure, percent


def drifted(report: NightReport) -> list[Finding]:
    """One finding for what drifted in the purchases, and one for the texts; or one that nothing did, of what can be told."""
    columns = [column for column in report.columns if column.drift.stability == "drifted"]
    given = [column for column in columns if column.given]
    texts: list[Column | Share] = [column for column in columns if not column.given]
    texts += [share for share in report.shares[1:] if share.drift.stability == "drifted"]
    found = []
    if given:
        found.append(_finding("purchases", given, _reason_of_purchases(report, given)))
    if texts:
        found.append(_finding("texts", texts, _reason_of_texts(report, given)))
    steady = [one.name for one in report.figures if one.drift.stability == "steady"]
    if steady and not found:
        claim = f"None of these drifted, against {counted(len(report.compared), 'night')} before: {', '.join(steady)}."
        found.append(Finding(claim=claim, verdict="fine"))
    return found


def untold(report: NightReport) -> list[Finding]:
    """What cannot be told, so that it is not taken for calm."""
    names = [one.name for one in report.figures if one.drift.stability == "unknown"]
    if not report.compared:
        claim = "No earlier night is there to compare with, so whether anything drifted cannot be told yet."
        return [Finding(claim=claim, verdict="unknown")]
    if not names:
        return []
    claim = f"With so few rows, whether these drifted cannot be told yet: {', '.join(names)}."
    return [Finding(claim=claim, verdict="unknown")]


def _finding(what: str, drifts: Sequence[Column | Share], reason: str) -> Finding:
    names = ", ".join(one.name for one in drifts)
    evidence = tuple(_line(one) for one in drifts)
    about = f"the {what} drifted ({names})"
    return Finding(claim=f"The {what} drifted: {names}. {reason}", verdict="look", evidence=evidence, about=about)


def _reason_of_purchases(report: NightReport, given: Sequence[Column]) -> str:
    if _is_new(report) and all(column.name != "rating" for column in given):  # no prompt changes a rating
        return f"The fingerprint is new ({', '.join(report.identity.changed)}): the likely reason."
    return "Other purchases came in than before, or their histories changed."


def _reason_of_texts(report: NightReport, given: Sequence[Column]) -> str:
    if _is_new(report):
        return f"The fingerprint is new ({', '.join(report.identity.changed)}): the likely reason."
    if given:
        return "The fingerprint is as before, and the purchases drifted too: a likely reason."
    return "Fingerprint and purchases are as before, so the reason is not in what this report reads."


def _is_new(report: NightReport) -> bool:
    return all(night.fingerprint != report.identity.fingerprint for night in report.compared)


def _line(one: Column | Share) -> str:
    if isinstance(one, Share):
        values, measure = f"{percent(one.share)}, before {percent(one.share_before)}", "Cohen's h"
    else:
        values, measure = f"mean {figure(one.mean)}, before {figure(one.mean_before)}", "distance"
    return f"{one.name}: {values}; {measure} {one.drift.distance:.2f}, limit {one.drift.limit:.2f}"
