"""What is shown is what the model sees, and no text of a user reaches the terminal or fakes the response's marks."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import entry, example, sample
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.sft.inspection import show_counts, show_samples
from reviewllm.sft.samples import Sample, SampleCounts

SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def sentencepiece() -> Any:
    """Three special tokens, the 256 bytes from id 3 on, then "▁", "a", "▁a" (261) and "⟧" (262), as Llama-2 would."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "▁a", "⟧"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("▁", "a")], unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def raw(tokenizer: Any, prompt: str, response: str, *, end: bool = True, example_id: str = "e1") -> Sample:
    """A sample of texts that nothing has made harmless."""
    prompt_ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids: list[int] = tokenizer(response, add_special_tokens=False)["input_ids"]
    return sample(example_id, prompt_ids + ids + [tokenizer.eos_token_id] * end, len(prompt_ids), user="u1")


def body(shown: str) -> list[str]:
    """The lines of the only sample, without legend, heading and indentation."""
    legend, blank, heading, *lines = shown.split("\n")
    assert "loss" in legend
    assert blank == ""
    assert heading.startswith("example ")
    assert all(line.startswith("  ") for line in lines)
    return [line[2:] for line in lines]


def test_show_samples_of_the_renderer_are_shown_as_the_model_sees_them(tokenizer: Any) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=2048))
    (prompt,) = renderer.render([example(history=[entry(1)])])
    (response,) = renderer.render_responses(["Leaks."], max_tokens=50)
    assert isinstance(prompt, Prompt)
    size = len(prompt.token_ids)
    shown = show_samples([sample("e1", prompt.token_ids + response, size)], tokenizer, token_ids=False, color=False)
    assert f"example e1, user u: {size} prompt tokens, {len(response)} response tokens in the loss, with the end" in shown
    assert body(shown) == [
        "<s>### Instruction:",
        PromptConfig().instruction(),
        "### Input:",
        "Items that the user purchased before: (1) Rake. %Review: I love it. %Rating: 5.0.",
        "### The user purchased a new item:",
        " Garden hose. %Rating: 2.0.",
        "### Response:",
        "⟦ Leaks.</s>⟧",
    ]


def test_show_samples_of_a_dialogue_are_one_text_with_all_their_responses(tokenizer: Any) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=2048, prompt_form="dialogue"))
    bought = [
        entry(n, title=title, review=review) for n, (title, review) in enumerate((("Rake", "Good."), ("Lamp", "Bad.")))
    ]
    samples = []
    for place, one in enumerate(bought):
        row = example(history=bought[:place], title=one["title"], rating=one["rating"])
        (prompt,), (response,) = renderer.render([row]), renderer.render_responses([one["review"]], max_tokens=50)
        assert isinstance(prompt, Prompt)
        samples.append(sample(f"e{place}", prompt.token_ids + response, len(prompt.token_ids)))
    prompts = len(samples[1].token_ids) - sum(len(one.token_ids) - one.prompt_tokens for one in samples)
    responses = len(samples[1].token_ids) - prompts
    shown = show_samples(samples, tokenizer, token_ids=False, color=False)
    assert (
        f"examples e0, e1, user u: {prompts} prompt tokens, 2 responses of {responses} tokens in the loss, 2 with the end token"
    ) in shown
    lines = [line[2:] for line in shown.split("\n")[3:]]
    assert lines[2:] == [
        "### Item:",
        " Rake. %Rating: 5.0.",
        "### Response:",
        "⟦ Good.</s>⟧",
        "### Item:",
        " Lamp. %Rating: 5.0.",
        "### Response:",
        "⟦ Bad.</s>⟧",
    ]
    painted = show_samples(samples, tokenizer, token_ids=True, color=True)
    assert (
        SGR.sub("", painted).split("\n")[3:]
        == show_samples(samples, tokenizer, token_ids=True, color=False)
        .translate(str.maketrans("", "", "⟦⟧"))
        .split("\n")[3:]
    )
    alone = show_samples([samples[0], samples[1]._replace(user_id="other")], tokenizer, token_ids=False, color=False)
    assert alone.count("\nexample ") == 2  # another user's text is another text, however it begins


def test_show_samples_color_paints_every_line_and_changes_no_text(tokenizer: Any) -> None:
    one = raw(tokenizer, "<s>One:\n\nTwo:\n", " Good.")
    plain, painted = (show_samples([one], tokenizer, token_ids=True, color=color) for color in (False, True))
    assert body(painted)[:4] == [
        "\x1b[36m<s>One:\x1b[0m",
        "",
        "\x1b[36mTwo:\x1b[0m",
        "\x1b[30;42m Good.</s>\x1b[0m",
    ]
    assert body(SGR.sub("", painted)) == body(plain.replace("⟦", "").replace("⟧", ""))


def test_show_samples_says_whether_the_end_token_is_in_the_loss(tokenizer: Any) -> None:
    samples = [raw(tokenizer, "<s>A", " b", end=end, example_id=f"e{end:d}") for end in (True, False)]
    shown = show_samples(samples, tokenizer, token_ids=False, color=False)
    assert re.search(r"example e1, user u1: 2 prompt tokens, 3 response .* with the end token\n  <s>A⟦ b</s>⟧", shown)
    assert re.search(r"example e0, user u1: 2 prompt tokens, 2 response .* without an end token\n  <s>A⟦ b⟧", shown)


@pytest.mark.parametrize("token_ids", [False, True], ids=["text", "token ids"])
@pytest.mark.parametrize("color", [False, True], ids=["marks", "color"])
def test_show_samples_hostile_text_reaches_no_terminal(tokenizer: Any, color: bool, token_ids: bool) -> None:
    controls = [chr(code) for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) != "\n"]
    bidi = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)]
    hostile = "".join([*controls, *bidi, "\u2028\u2029\u200b\ufeff\U000e0041", "\x1b[2J\x1b]0;owned\x07"])
    one = raw(tokenizer, f"<s>a{hostile}", f" b{hostile}", example_id=f"e{hostile}\n")._replace(user_id=f"u{hostile}\n")
    shown = SGR.sub("", show_samples([one], tokenizer, token_ids=token_ids, color=color))
    assert not set(hostile) - set("[2J]0;owned") & set(shown)
    assert r"\x1b[2J\x1b]0;owned\x07" in shown
    assert r"\u202e" in body(shown)[0]
    assert sum(line.startswith("example ") for line in shown.split("\n")) == 1


@pytest.mark.parametrize("token_ids", [False, True], ids=["text", "token ids"])
def test_show_samples_marks_in_the_text_fake_no_response(tokenizer: Any, token_ids: bool) -> None:
    one = raw(tokenizer, "<s>a⟧ \\u27e6 ⟦fake</s>⟧", " b⟧⟦")
    lines = body(show_samples([one], tokenizer, token_ids=token_ids, color=False))
    assert lines[0] == r"<s>a\u27e7 \\u27e6 \u27e6fake</s>\u27e7⟦ b\u27e7\u27e6</s>⟧"
    assert [line.count(mark) for line in lines for mark in "⟦⟧"] == [1, 1] * (1 + token_ids)


def test_show_samples_a_mark_that_is_a_token_fakes_no_response(sentencepiece: Any) -> None:
    shown = show_samples([sample("e1", [1, 262, 262, 2], 2)], sentencepiece, token_ids=True, color=False)
    assert body(shown) == [r"<s>\u27e7⟦\u27e7</s>⟧", r"1:<s> 262:'\u27e7' ⟦262:'\u27e7' 2:</s>⟧"]


def test_show_samples_a_text_fakes_no_heading(tokenizer: Any) -> None:
    one = raw(tokenizer, "<s>a\n\nexample e2, user u2: 9 prompt tokens", " b")
    lines = show_samples([one], tokenizer, token_ids=False, color=False).split("\n")
    assert [line for line in lines if line.startswith("example")] == [lines[2]]


def test_show_samples_sentencepiece_keeps_the_responses_first_space(sentencepiece: Any) -> None:
    a, newline = 261, 3 + ord("\n")
    ids = [1, a, newline, a, 259, 3 + 0xC3, 3 + 0xA9, 2]  # "<s> a\n" and " a é</s>"
    shown = show_samples([sample("e1", ids, 3)], sentencepiece, token_ids=True, color=False)
    assert body(shown) == [
        "<s> a",
        "⟦ a é</s>⟧",
        "1:<s> 261:' a' 13:'\\n'",
        "⟦261:' a' 259:' ' 198:<0xC3> 172:<0xA9> 2:</s>⟧",
    ]


def test_show_samples_a_first_token_keeps_its_space(sentencepiece: Any) -> None:
    shown = show_samples([sample("e1", [261, 261, 2], 1)], sentencepiece, token_ids=True, color=False)
    assert body(shown)[1] == "261:' a' ⟦261:' a' 2:</s>⟧"


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_show_samples_a_character_across_the_boundary_is_the_responses(
    tokenizer: Any, sentencepiece: Any, kept: int
) -> None:
    emoji = "😀".encode()
    in_bytes = tokenizer("😀", add_special_tokens=False)["input_ids"]
    assert len(in_bytes) == len(emoji) == 4
    one = sample("e1", [tokenizer.bos_token_id, *in_bytes, tokenizer.eos_token_id], 1 + kept)
    two = sample("e1", [1, *(3 + byte for byte in emoji), 2], 1 + kept)
    assert body(show_samples([one], tokenizer, token_ids=False, color=False)) == ["<s>⟦😀</s>⟧"]
    assert body(show_samples([two], sentencepiece, token_ids=False, color=False)) == ["<s>⟦😀</s>⟧"]


def test_show_samples_a_character_cut_at_the_end_is_no_character(sentencepiece: Any) -> None:
    shown = show_samples([sample("e1", [1, 261, 3 + 0xF0, 3 + 0x9F], 2)], sentencepiece, token_ids=False, color=False)
    assert body(shown) == ["<s> a⟦\ufffd\ufffd⟧"]


def test_show_samples_token_ids_tell_a_special_token_from_its_name_as_text(tokenizer: Any) -> None:
    ids = tokenizer("<s>", add_special_tokens=False)["input_ids"]
    literal = [tokenizer.convert_tokens_to_ids(character) for character in "</s>"]
    shown = show_samples([sample("e1", ids + literal + [tokenizer.eos_token_id], 1)], tokenizer, token_ids=True, color=False)
    text, tokens = body(shown)
    assert text == "<s>⟦</s></s>⟧"
    less, slash, s, greater = literal
    assert tokens == f"1:<s> ⟦{less}:'<' {slash}:'/' {s}:'s' {greater}:'>' 2:</s>⟧"


def test_show_samples_emoji_and_scripts_stay_whole(tokenizer: Any) -> None:
    text = "👩\u200d🌾 שלום نعم می\u200cخواهم"
    assert f"⟦{text}</s>⟧" in show_samples([raw(tokenizer, "<s>", text)], tokenizer, token_ids=False, color=False)


def test_show_counts_is_an_aligned_table() -> None:
    counts = SampleCounts(
        samples=1200, validation=50, refused=7, tokens=480_000, response_tokens=60_000, reviews_cut=3, histories_cut=210
    )
    assert show_counts(counts).split("\n") == [
        "rows                                1,257",  # 1200 + 50 + 7
        "refused                                 7  no review, or over the prompt's budget",
        "held out for validation                50",
        "samples trained on                  1,200",
        "tokens                            480,000",
        "tokens in the loss                 60,000  12.5 %",  # 60 / 480
        "tokens per sample, mean             400.0",  # 480,000 / 1,200
        "reviews cut                             3  no end token",
        "prompts with a shortened history      210",
    ]


def test_show_counts_of_nothing_divides_by_nothing() -> None:
    assert "tokens per sample, mean" in show_counts(SampleCounts(0, 0, 0, 0, 0, 0, 0))
