"""What of the options decides a prompt, and so stands in fingerprints."""

from __future__ import annotations

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
    assert set(config.deciding()) == set(PromptConfig.model_fields) - {
        *("instruction_file", "prompt_form", "history_selection", "user_facts")
    }


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


def test_deciding_has_the_facts_of_users_where_they_are_shown() -> None:
    assert PromptConfig(user_facts=True).deciding() == {**PromptConfig().deciding(), "user_facts": True}
    of_no_reviews = PromptConfig(task="extract", user_facts=True)
    assert of_no_reviews.deciding() == PromptConfig(task="extract").deciding()
    assert not of_no_reviews.has_user_facts


def test_dialogues_with_facts_of_users_do_not_go_on() -> None:
    """So training takes the paper's defaults: room for two samples in a pass, and no runs of one user."""
    talks, told = PromptConfig(prompt_form="dialogue"), PromptConfig(prompt_form="dialogue", user_facts=True)
    assert (talks.goes_on, told.goes_on, PromptConfig().goes_on) == (True, False, False)


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
