"""Pairs: the same drawn examples for every model, and no text twice, lost or invented."""

import shutil

import pytest
from annotated_run import ADAPTED, TINY, TWIN, generation, write_run

from reviewllm.annotation.pairs import DrawConfig, draw_pairs, read_generations
from reviewllm.errors import ConfigError, InputError, SchemaError
from reviewllm.evaluation.baselines import REAL


def test_draw_pairs_draws_the_same_examples_for_every_model_and_seed(run_folder):
    draw = draw_pairs(run_folder, DrawConfig(pairs=5, seed=3))
    again = draw_pairs(run_folder, DrawConfig(pairs=5, seed=3))

    assert draw.models == ("tiny", "Review-LLM")
    assert draw.available == 12
    assert len(draw.pairs) == 5 * 2
    for model in draw.models:
        assert [pair.example_id for pair in draw.pairs if pair.models == (model,)] == list(draw.examples)
    assert again.examples == draw.examples
    assert draw_pairs(run_folder, DrawConfig(pairs=5, seed=4)).examples != draw.examples
    assert draw_pairs(run_folder, DrawConfig(pairs=5, seed=3, models=["tiny"])).examples == draw.examples


def test_draw_pairs_puts_real_and_generated_review_of_one_purchase_together(run_folder):
    for pair in draw_pairs(run_folder, DrawConfig(pairs=5)).pairs:
        author = {"tiny": "Tiny", "Review-LLM": "Adapted"}[pair.models[0]]
        assert (pair.title, pair.rating) == (f"Item {pair.example_id}", 2.0)
        assert (pair.reference, pair.generated) == (f"Real {pair.example_id}.", f"{author} {pair.example_id}.")


def test_draw_pairs_ids_are_new_each_time(run_folder):
    ids = [pair.pair_id for _ in range(2) for pair in draw_pairs(run_folder, DrawConfig()).pairs]

    assert len(set(ids)) == 2 * 12 * 2


def test_draw_pairs_takes_all_examples_where_there_are_fewer(run_folder):
    assert len(draw_pairs(run_folder, DrawConfig(pairs=100)).examples) == 12


def test_draw_pairs_without_ratings_and_of_one_model(run_folder):
    assert draw_pairs(run_folder, DrawConfig(with_rating=False)).models == ("tiny", "no-rating twin")
    assert draw_pairs(run_folder, DrawConfig(models=["Review-LLM"])).models == ("Review-LLM",)


def test_draw_pairs_leaves_the_real_reviews_out(tmp_path):
    rows = [
        generation("e1", TINY, "Good.", with_rating=False),
        generation("e1", (REAL.name, None), "Real e1.", with_rating=False),
    ]

    assert draw_pairs(write_run(tmp_path, rows), DrawConfig(with_rating=False)).models == ("tiny",)


def test_draw_pairs_shows_equal_texts_once_and_failed_and_blank_ones_never(tmp_path):
    rows = [generation("e1", TINY, "Good."), generation("e1", ADAPTED, "Good."), generation("e2", TINY, "Good.")]
    rows += [generation("e2", ADAPTED, None), generation("e3", TINY, " \u200b\n"), generation("e3", ADAPTED, "Good. ")]
    draw = draw_pairs(write_run(tmp_path, rows), DrawConfig())

    shown = [(pair.example_id, pair.generated, pair.models) for pair in draw.pairs]
    assert shown == [
        ("e1", "Good.", ("tiny", "Review-LLM")),
        ("e2", "Good.", ("tiny",)),
        ("e3", "Good. ", ("Review-LLM",)),
    ]
    assert [(entry.example_id, entry.model, entry.reason) for entry in draw.not_shown] == [
        ("e2", "Review-LLM", "failed"),
        ("e3", "tiny", "blank"),
    ]


def test_read_generations_reads_the_lowest_repeat_only(run_folder):
    folder = run_folder / "metrics" / "generations"
    for number in ("10", "2"):
        shutil.copytree(folder, run_folder / number)
    for number in ("10", "2"):
        shutil.move(run_folder / number, folder / number)
    write_run(run_folder, [generation("e00", TINY, "Of repeat 2.")], name="2/part-0")

    assert read_generations(run_folder)["review"].to_list() == ["Of repeat 2."]


def test_draw_pairs_refuses_a_model_that_was_not_evaluated_so(run_folder):
    with pytest.raises(
        ConfigError, match=r"--models no-rating twin: was not .* with ratings\); choose of: tiny, Review-LLM"
    ):
        draw_pairs(run_folder, DrawConfig(models=["tiny", "no-rating twin"]))


def test_draw_pairs_refuses_a_split_without_generations(run_folder):
    with pytest.raises(InputError, match="no row for split hard, with ratings"):
        draw_pairs(run_folder, DrawConfig(split="hard"))


def test_draw_pairs_refuses_what_belongs_to_no_evaluation(tmp_path):
    with pytest.raises(SchemaError, match="no Parquet file of table 'generations'"):
        draw_pairs(tmp_path, DrawConfig())


def test_draw_pairs_refuses_models_that_answered_different_examples(tmp_path):
    rows = [generation("e1", TINY, "Good."), generation("e2", TINY, "Good."), generation("e1", ADAPTED, "Good.")]

    with pytest.raises(SchemaError, match=r"'Review-LLM' has 1 of 2 examples .*, example e2 is missing"):
        draw_pairs(write_run(tmp_path, rows), DrawConfig())


def test_draw_pairs_refuses_an_example_twice_and_an_unnamed_model(tmp_path):
    twice = [generation("e1", TINY, "Good."), generation("e1", TINY, "Bad.")]
    with pytest.raises(SchemaError, match="example e1 is there twice for model 'tiny'"):
        draw_pairs(write_run(tmp_path, twice), DrawConfig())
    with pytest.raises(SchemaError, match=r"no name for \(model, adapter\) \('other', None\)"):
        draw_pairs(write_run(tmp_path, [generation("e1", ("other", None), "Good.")]), DrawConfig())


def test_draw_pairs_refuses_examples_that_are_gone_or_have_no_reference(tmp_path):
    write_run(tmp_path, [generation("e1", TINY, "Good.")], e1=" ")
    with pytest.raises(SchemaError, match="example e1 has no reference"):
        draw_pairs(tmp_path, DrawConfig())
    write_run(tmp_path, [generation("e2", TINY, "Good.")], name="part-1")
    with pytest.raises(SchemaError, match="the evaluated example e1 is not there"):
        draw_pairs(tmp_path, DrawConfig())


def test_draw_pairs_refuses_when_nothing_can_be_shown(tmp_path):
    rows = [generation("e1", TINY, None), generation("e1", ADAPTED, " "), generation("e1", TWIN, "x", with_rating=False)]

    with pytest.raises(InputError, match="all 1 drawn examples failed or are blank in every model"):
        draw_pairs(write_run(tmp_path, rows), DrawConfig())
