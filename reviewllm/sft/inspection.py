"""Training samples as a person can check them: the text and the tokens that the model sees, and what the loss is on.

User text is hostile and a terminal obeys what it is sent, so only printable characters are shown as they are: control
characters, reordering marks, the marks of the response and the backslash come escaped as in a Python string.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reviewllm.sft.samples import SampleCounts
    from reviewllm.sft.sequences import Sample

RESPONSE_START, RESPONSE_END = "⟦", "⟧"  # around the response where there is no colour

# SGR codes. The response has a background, so that its spaces show.
_PROMPT_COLOR, _RESPONSE_COLOR = "36", "30;42"  # cyan; black on green
_ESCAPED = f"\\{RESPONSE_START}{RESPONSE_END}"
_JOINERS = "\u200c\u200d"  # hold emoji together and shape scripts; they reorder nothing
_INDENT = "  "  # no line of a text stands where a heading does


def show_samples(
    samples: Sequence[Sample], tokenizer: Any, *, end_token: int | None = None, token_ids: bool, color: bool
) -> str:
    r"""Show each sample under a heading: its prompt, and its response, which alone is in the loss.

    Special tokens are shown. In the text a line of the sample is an indented line; whatever else is not printable is
    escaped (`\t`, `\x1b`, `\u202e`, and `\\` for a backslash).

    Args:
        tokenizer: the Hugging Face tokenizer that the samples were made with.
        end_token: id that ends a response; None for the tokenizer's end of sequence.
        token_ids: also show every token as `id:piece`: quoted what is text, bare the vocabulary's own name of special
            tokens and of parts of characters.
        color: prompt and response in two colours (ANSI); otherwise the response stands between `⟦` and `⟧`.
    """
    legend = f"{_two_parts('prompt ', 'response', color=color)}: the loss is on the response alone"
    end_token = tokenizer.eos_token_id if end_token is None else end_token
    return "\n\n".join(
        [legend, *(_show(sample, tokenizer, end_token, token_ids=token_ids, color=color) for sample in samples)]
    )


def show_counts(counts: SampleCounts) -> str:
    """Show what became of the training examples, one number a line; tokens are those of the samples trained on."""
    share = 100 * counts.response_tokens / max(counts.tokens, 1)
    lines = [
        ("rows", f"{counts.samples + counts.validation + counts.refused:,}", ""),
        ("refused", f"{counts.refused:,}", "no review, or over the prompt's budget"),
        ("held out for validation", f"{counts.validation:,}", ""),
        ("samples trained on", f"{counts.samples:,}", ""),
        ("tokens", f"{counts.tokens:,}", ""),
        ("tokens in the loss", f"{counts.response_tokens:,}", f"{share:.1f} %"),
        ("tokens per sample, mean", f"{counts.tokens / max(counts.samples, 1):,.1f}", ""),
        ("reviews cut", f"{counts.reviews_cut:,}", "no end token"),
        ("prompts with a shortened history", f"{counts.histories_cut:,}", ""),
    ]
    if counts.attributes_dropped:
        lines.append(("prompts without all attributes", f"{counts.attributes_dropped:,}", "over --max-attribute-tokens"))
    names, numbers = (max(len(line[column]) for line in lines) for column in (0, 1))
    return "\n".join(f"{name:<{names}}  {number:>{numbers}}  {note}".rstrip() for name, number, note in lines)


def _show(sample: Sample, tokenizer: Any, end_token: int, *, token_ids: bool, color: bool) -> str:
    ids = sample.token_ids.tolist()
    response = ids[sample.prompt_tokens :]
    end = "with the end token" if end_token in response else "without an end token"
    heading = (
        f"example {visible(sample.example_id)}, user {visible(sample.user_id)}: {sample.prompt_tokens} prompt tokens, "
        f"{len(response)} response tokens in the loss, {end}"
    )
    parts = [_two_parts(*map(_visible_lines, _texts(ids, sample.prompt_tokens, tokenizer)), color=color)]
    if token_ids:
        pieces = _pieces(set(ids), tokenizer)
        prompt_lines, response_lines = (_token_lines(part, pieces) for part in (ids[: sample.prompt_tokens], response))
        parts.append(_two_parts(prompt_lines, response_lines.rstrip(), color=color))
    return "\n".join([heading, *(_INDENT + part.replace("\n", "\n" + _INDENT) for part in parts)])


def _texts(ids: list[int], prompt_tokens: int, tokenizer: Any) -> tuple[str, str]:
    """The text of the prompt and of the response, which together are the text of the whole.

    The response is not decoded alone: SentencePiece's decoders drop the first space of what they are given. A character
    whose bytes begin in the prompt and end in the response belongs to the response, which decides what it is.
    """
    whole = _decode(ids, tokenizer)
    prompt = _decode(ids[:prompt_tokens], tokenizer)
    while not whole.startswith(prompt):
        prompt = prompt[:-1]
    return prompt, whole[len(prompt) :]


def _decode(ids: list[int], tokenizer: Any) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def _pieces(ids: Iterable[int], tokenizer: Any) -> dict[int, str]:
    """What to show for each token id, printable."""
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    pieces = {}
    for number in ids:
        # Behind itself a token keeps the space that a decoder drops at the start.
        text = _decode([number, number], tokenizer)[len(_decode([number], tokenizer)) :]
        bare = number in special or not text or "\ufffd" in text  # U+FFFD stands for bytes that are no character
        name = visible(str(tokenizer.convert_ids_to_tokens(number))) if bare else _marks_escaped(repr(text))
        pieces[number] = f"{number}:{name}"
    return pieces


def _token_lines(ids: list[int], pieces: dict[int, str]) -> str:
    """Tokens side by side, a new line after those that end one."""
    return "".join(piece + ("\n" if piece.endswith("\\n'") else " ") for piece in map(pieces.__getitem__, ids))


def _two_parts(prompt: str, response: str, *, color: bool) -> str:
    if color:
        return _painted(prompt, _PROMPT_COLOR) + _painted(response, _RESPONSE_COLOR)
    return f"{prompt}{RESPONSE_START}{response}{RESPONSE_END}"


def _painted(text: str, sgr: str) -> str:
    """Each line by itself, so that a background ends with its text."""
    return "\n".join(line and f"\x1b[{sgr}m{line}\x1b[0m" for line in text.split("\n"))


def _visible_lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def visible(text: str) -> str:
    """One line on which nothing acts on a terminal or passes for a mark of ours."""
    return "".join(char if _harmless(char) else char.encode("unicode_escape").decode("ascii") for char in text)


def _harmless(char: str) -> bool:
    return (char.isprintable() or char in _JOINERS) and char not in _ESCAPED


def _marks_escaped(text: str) -> str:
    return text.replace(RESPONSE_START, "\\u27e6").replace(RESPONSE_END, "\\u27e7")
