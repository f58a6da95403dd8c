"""Training samples as a person can check them: the text and the tokens that the model sees, and what the loss is on.

User text is hostile and a terminal obeys what it is sent, so only printable characters are shown as they are: control
characters, reordering marks, the marks of the response and the backslash come escaped as in a Python string.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from reviewllm.sft.sequences import shared_prefix

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

    Samples of a dialogue, each of which is how the next one begins, are shown as the one text that they are trained as, with all
    their responses. Special tokens are shown. In the text a line of the sample is an indented line; whatever else is not
    printable is escaped (`\t`, `\x1b`, `\u202e`, and `\\` for a backslash).

    Args:
        tokenizer: the Hugging Face tokenizer that the samples were made with.
        end_token: id that ends a response; None for the tokenizer's end of sequence.
        token_ids: also show every token as `id:piece`: quoted what is text, bare the vocabulary's own name of special
            tokens and of parts of characters.
        color: prompt and response in two colours (ANSI); otherwise the response stands between `⟦` and `⟧`.
    """
    legend = f"{_in_parts(['prompt ', 'response'], color=color)}: the loss is on the response alone"
    end_token = tokenizer.eos_token_id if end_token is None else end_token
    return "\n\n".join(
        [legend, *(_show(one, tokenizer, end_token, token_ids=token_ids, color=color) for one in _texts_of(samples))]
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
    if counts.with_evidence:
        share = 100 * counts.with_evidence / counts.samples
        lines.append(("prompts with reviews by others", f"{counts.with_evidence:,}", f"{share:.1f} %"))
    if counts.attributes_dropped:
        lines.append(("prompts without all attributes", f"{counts.attributes_dropped:,}", "over --max-attribute-tokens"))
    names, numbers = (max(len(line[column]) for line in lines) for column in (0, 1))
    return "\n".join(f"{name:<{names}}  {number:>{numbers}}  {note}".rstrip() for name, number, note in lines)


def _texts_of(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples, those together that go on from the one before."""
    texts: list[list[Sample]] = []
    for sample in samples:
        if texts and _goes_on(sample, texts[-1][-1]):
            texts[-1].append(sample)
        else:
            texts.append([sample])
    return texts


def _goes_on(sample: Sample, last: Sample) -> bool:
    size = len(last.token_ids)
    begins_alike = size <= sample.prompt_tokens and shared_prefix(last.token_ids, sample.token_ids) == size
    return begins_alike and sample.user_id == last.user_id


def _show(samples: list[Sample], tokenizer: Any, end_token: int, *, token_ids: bool, color: bool) -> str:
    ids = samples[-1].token_ids.tolist()
    cuts = [0, *(place for sample in samples for place in (sample.prompt_tokens, len(sample.token_ids)))]
    parts = [ids[start:end] for start, end in itertools.pairwise(cuts)]  # prompt, response, prompt, response, ...
    shown = [_in_parts(list(map(_visible_lines, _texts(ids, cuts, tokenizer))), color=color)]
    if token_ids:
        pieces = _pieces(set(ids), tokenizer)
        lines = [_token_lines(part, pieces) for part in parts]
        lines[1::2] = [line.rstrip() for line in lines[1::2]]
        lines[2::2] = [f" {line}" for line in lines[2::2]]
        shown.append(_in_parts(lines, color=color))
    heading = _heading(samples, parts, end_token)
    return "\n".join([heading, *(_INDENT + part.replace("\n", "\n" + _INDENT) for part in shown)])


def _heading(samples: list[Sample], parts: list[list[int]], end_token: int) -> str:
    prompt, response = (sum(map(len, parts[first::2])) for first in (0, 1))
    ended = sum(end_token in part for part in parts[1::2])
    user = f"user {visible(samples[0].user_id)}: {prompt} prompt tokens"
    if len(samples) == 1:
        end = "with the end token" if ended else "without an end token"
        return f"example {visible(samples[0].example_id)}, {user}, {response} response tokens in the loss, {end}"
    names = ", ".join(visible(sample.example_id) for sample in samples)
    return f"examples {names}, {user}, {len(samples)} responses of {response} tokens in the loss, {ended} with the end token"


def _texts(ids: list[int], cuts: Sequence[int], tokenizer: Any) -> list[str]:
    """The texts of the parts between cuts, which together are the text of the whole.

    No part is decoded alone: SentencePiece's decoders drop the first space of what they are given. A character whose bytes
    begin in one part and end in the next belongs to the latter, which decides what it is.
    """
    whole = _decode(ids, tokenizer)
    ends = []
    for cut in cuts[:-1]:
        before = _decode(ids[:cut], tokenizer)
        while not whole.startswith(before):
            before = before[:-1]
        ends.append(len(before))
    return [whole[start:end] for start, end in itertools.pairwise([*ends, len(whole)])]


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


def _in_parts(texts: Sequence[str], *, color: bool) -> str:
    """Prompts and responses in turns, each told from the other."""
    if color:
        return "".join(_painted(text, (_PROMPT_COLOR, _RESPONSE_COLOR)[place % 2]) for place, text in enumerate(texts))
    return "".join(f"{RESPONSE_START}{text}{RESPONSE_END}" if place % 2 else text for place, text in enumerate(texts))


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
