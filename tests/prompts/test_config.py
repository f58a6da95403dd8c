"""What of the options decides a prompt, and so stands in fingerprints."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.train import TrainJob
from reviewllm.config import parse
from reviewllm.errors import ConfigError
from reviewllm.prompts.config import PromptConfig


def test_deciding_of_the_task_review_is_what_it_was_before_there_were_others() -> None:
    before = {"rating": True, "max_prompt_tokens": 1536, "min_history": 4, "history_block": 4, "max_title_chars": 300}
    assert PromptConfig().deciding() == before
    assert PromptConfig(serialisation="html", max_attribute_tokens=99, max_value_chars=50).deciding() == before


def test_deciding_has_all_that_decides_the_task_attributes() -> None:
    config = PromptConfig(task="attributes", serialisation="html", chat_template=True)
    others = {"evidence", "max_evidence_tokens", "evidence_place", "history_selection", "user_facts"}
    assert set(config.deciding()) == set(PromptConfig.model_fields) - {"instruction_file", "prompt_form", *others}
    with_others = PromptConfig(evidence="both", max_evidence_tokens=100)
    assert with_others.deciding().items() >= {"evidence": "both", "max_evidence_tokens": 100}.items()
    assert "evidence_place" in with_others.deciding()


def test_deciding_has_the_form_where_it_is_another_than_the_papers() -> None:
    config = PromptConfig(prompt_form="dialogue")
    assert (
        config.deciding() == PromptConfig(prompt_form="dialogue", history_block=9).deciding()
    )  # the paper's form has blocks
    assert config.deciding()["prompt_form"] == "dialogue"
    one_form = PromptConfig(task="extract", prompt_form="dialogue")  # no reviews are shown, so there is no dialogue
    assert one_form.deciding() == PromptConfig(task="extract").deciding()
    assert one_form.instruction() == PromptConfig(task="extract").instruction()


def test_deciding_has_the_selection_where_it_is_another_than_the_latest() -> None:
    similar = PromptConfig(history_selection="similar")
    assert similar.deciding()["history_selection"] == "similar"
    assert similar.deciding() == similar.model_copy(update={"history_block": 9}).deciding()  # it drops single entries
    of_no_reviews = PromptConfig(task="extract", history_selection="similar")
    assert of_no_reviews.deciding() == PromptConfig(task="extract").deciding()


def test_dialogues_select_no_history() -> None:
    argv = ["--base-model", "x", "--prompt-form", "dialogue", "--history-selection", "spread"]
    with pytest.raises(
        ConfigError, match=r"--history-selection spread with --prompt-form dialogue: .*leave one of the two out"
    ):
        parse(TrainJob, argv)
    assert PromptConfig(task="extract", prompt_form="dialogue", history_selection="spread").selection == "latest"


def test_instruction_is_the_tasks() -> None:
    texts = [
        PromptConfig(task=task, rating=rating).instruction()  # type: ignore[arg-type]
        for task in ("review", "attributes")
        for rating in (True, False)
    ]
    assert len(set(texts)) == 4
    assert [("rating" in text, "attributes" in text) for text in texts] == [
        (True, False),
        (False, False),
        (True, True),
        (False, True),
    ]


def test_serialisations_are_a_list_of_the_task_attributes() -> None:
    argv = ["--base-model", "x", "--task", "attributes"]
    for given in (["--serialisations", "json,markdown"], ["--serialisations", "json", "--serialisations", "markdown"]):
        assert parse(TrainJob, [*argv, *given]).serialisations == ["json", "markdown"]
    for bad, message in (
        (["--base-model", "x", "--serialisations", "json"], "--task review shows no attributes; set --task attributes"),
        ([*argv, "--serialisations", "json,json"], "json is named more than once"),
        ([*argv, "--serialisations", "yaml"], "--serialisations.0: .*'json', 'markdown', 'tsv', 'html' or 'text'"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse(TrainJob, bad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "extract", "evidence": "item"}, "--evidence item: --task extract shows no reviews by others"),
        ({"evidence": "item", "max_prompt_tokens": 400}, "leaves 16 of --max-prompt-tokens 400 to history and item"),
    ],
)
def test_evidence_that_cannot_be_shown_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PromptConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "goes_on"),
    [
        ({}, False),
        ({"prompt_form": "dialogue"}, True),
        ({"prompt_form": "dialogue", "user_facts": True}, False),
        ({"prompt_form": "dialogue", "evidence": "item"}, False),
    ],
)
def test_dialogues_go_on_where_nothing_stands_before_the_new_item_alone(options: dict[str, Any], goes_on: bool) -> None:
    assert PromptConfig.model_validate(options).goes_on is goes_on
