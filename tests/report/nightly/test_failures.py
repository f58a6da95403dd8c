"""Dead letters by class, with what they mean."""

from reviewllm.generation import failures
from reviewllm.report.nightly.failures import MEANINGS, dead_letters, failures_by_class
from tests.backfill.conftest import NIGHT
from tests.report.nightly.conftest import Shop, failed, texts


def test_every_class_has_a_meaning() -> None:
    classes = {value for name, value in vars(failures).items() if name.isupper() and isinstance(value, str)}

    assert set(MEANINGS) == classes - {"NoSource"}  # of an evaluation's baselines, never of a night


def test_dead_letters_are_counted_by_class_and_most_frequent_first(shop: Shop) -> None:
    rows = [failed("Refused", "no")] * 2 + [failed("EngineFailed", "timeout")] * 3 + texts(5, seed=0)
    manifest = shop.publish_rows(NIGHT, rows)

    letters = dead_letters(shop.data, NIGHT, manifest)

    assert letters.rows() == [("EngineFailed", 3, "timeout"), ("Refused", 2, "no")]


def test_failures_by_class_have_shares_of_all_rows_tonight_and_before(shop: Shop) -> None:
    manifest = shop.publish_rows(NIGHT, [failed("Odd", "x" * 500), failed("EngineFailed"), *texts(6, seed=0)])
    letters = dead_letters(shop.data, NIGHT, manifest)

    engine, odd = failures_by_class(letters, 8, [letters, letters], 40)

    assert (engine.count, engine.share, engine.share_before, engine.may_mend) == (1, 1 / 8, 2 / 40, True)
    assert (odd.meaning, odd.may_mend, len(odd.message)) == ("a class that this version does not know", False, 201)
    assert failures_by_class(letters, 8, [], 0)[0].share_before is None


def test_dead_letters_of_a_night_without_any_are_none(shop: Shop) -> None:
    assert dead_letters(shop.data, NIGHT, shop.publish_rows(NIGHT, texts(3, seed=0))).height == 0
