"""The base's own chat template: its structure is special tokens, user text is not, and a response ends as its turns do."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from conftest import entry, example
from tokenizer_styles import STYLES, Style

from reviewllm.errors import ConfigError
from reviewllm.prompts.chat import chat_frame, end_token
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tasks.review import INSTRUCTION

# Short templates of our own, in the manner of the published ones.
LLAMA_2 = (
    "{{ bos_token }}[INST] {% if system is defined %}<<SYS>>\n{{ system }}\n<</SYS>>\n\n{% endif %}"
    "{{ messages[0].content | trim }} [/INST]{% for one in messages[1:] %} {{ one.content | trim }} {{ eos_token }}{% endfor %}"
)
LLAMA_2_SYSTEM = "{% set system = 'Be brief.' %}" + LLAMA_2
MISTRAL = (
    "{{ bos_token }}{% for one in messages %}{% if one.role == 'user' %}[INST] {{ one.content }}[/INST]"
    "{% else %} {{ one.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ bos_token }}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday: {{ date_string }}, {{ strftime_now('%Y') }}\n\n<|eot_id|>"
    "{% for one in messages %}<|start_header_id|>{{ one.role }}<|end_header_id|>\n\n{{ one.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
CHATML = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% for one in messages %}<|im_start|>{{ one.role }}\n"
    "{{ one.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {  # style of the tokenizer, template, what precedes and follows a prompt, what ends a response
    "llama-2": ("llama-2", LLAMA_2, "<s>[INST] ", " [/INST]", "</s>"),
    "llama-2 system": ("llama-2", LLAMA_2_SYSTEM, "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n", " [/INST]", "</s>"),
    "mistral": ("llama-2 as in its file", MISTRAL, "<s>[INST] ", "[/INST]", "</s>"),
    "llama-3": (
        "llama-3",
        LLAMA_3,
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024, 2024\n\n<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
    "chatml": (
        "qwen",
        CHATML,
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>",
    ),
}
HOSTILE = ["<|eot_id|>", "</s>", "<s>", "[/INST]", "<|im_end|>", "<|im_start|>system", "<|start_header_id|>", "<<SYS>>"]
CONFIG = PromptConfig(chat_template=True, max_prompt_tokens=4096)


class Chat:
    """A tokenizer with one of the templates."""

    def __init__(self, style: Style, template: str, before: str, after: str, end: str) -> None:
        self.style, self.before, self.after, self.end = style, before, after, end
        self.tokenizer: Any = copy.deepcopy(style.tokenizer)
        self.tokenizer.chat_template = template

    def special(self, ids: list[int]) -> list[str]:
        """The special tokens among ids, in order."""
        return [self.style.special[number] for number in ids if number < len(self.style.special)]

    def read(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Chat]:
    styles: dict[str, Style] = {}
    made = {}
    for name, (style, *rest) in TEMPLATES.items():
        if style not in styles:
            styles[style] = STYLES[style](tmp_path_factory.mktemp("tokenizer"))
        made[name] = Chat(styles[style], *rest)
    return made


@pytest.fixture(params=list(TEMPLATES))
def chat(request: pytest.FixtureRequest, chats: dict[str, Chat]) -> Chat:
    return chats[request.param]


def rendered(chat: Chat, row: dict[str, Any], **options: Any) -> list[int]:
    (prompt,) = PromptRenderer(chat.tokenizer, CONFIG.model_copy(update=options)).render([row])
    assert isinstance(prompt, Prompt), prompt
    return prompt.token_ids


def test_chat_frame_is_what_the_template_puts_around_a_message(chat: Chat) -> None:
    frame = chat_frame(chat.tokenizer)
    assert (frame.before, frame.after, frame.end_text) == (chat.before, chat.after, chat.end)
    assert chat.special([frame.end]) == [chat.end]
    assert frame.text == f"{chat.before}{{prompt}}{chat.after}{{response}}{chat.end}"


def test_render_wraps_the_whole_prompt_in_one_turn(chat: Chat) -> None:
    text = chat.read(rendered(chat, example(history=[entry(1, rating=4.0)])))
    prompt = (
        f"### Instruction:\n{INSTRUCTION}\n### Input:\nItems that the user purchased before: (1) Rake. %Review: I love it. "
        "%Rating: 4.0.\n### The user purchased a new item:\n Garden hose. %Rating: 2.0.\n### Response:\n"
    )
    plain = (chat.before + prompt + chat.after).replace("\n Garden", "\nGarden")
    assert text.replace("\n Garden", "\nGarden").replace("<s> ", "<s>") == plain


def test_render_special_tokens_are_those_of_the_template_alone(chat: Chat) -> None:
    hostile = example(title=f"Hose {' '.join(HOSTILE)}", history=[entry(1, title=HOSTILE[0], review=" ".join(HOSTILE))])
    asked = [{"role": "user", "content": "x"}]
    as_the_template_says = chat.tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    for row in (example(), hostile):
        ids = rendered(chat, row)
        assert chat.special(ids) == chat.special(as_the_template_says)
    bos = chat.style.bos
    assert bos is None or (ids[0] == bos and ids.count(bos) == 1)


def test_render_begins_with_the_tokens_that_the_base_has_learned_the_template_by(chat: Chat) -> None:
    head = PromptRenderer(chat.tokenizer, CONFIG)._head
    message = f"### Instruction:\n{INSTRUCTION}\n### Input:\nItems that the user purchased before:"
    text = chat.before + message + chat.after
    assert head == chat.tokenizer.encode(text, add_special_tokens=False)[: len(head)]


def test_render_responses_end_with_the_end_of_a_turn(chat: Chat) -> None:
    renderer = PromptRenderer(chat.tokenizer, CONFIG)
    for ids in renderer.render_responses(["Fine.", f"Good {' '.join(HOSTILE)}"], max_tokens=500):
        assert chat.special(ids) == [chat.end]
        assert ids[-1] == renderer.end == end_token(chat.tokenizer, chat_template=True)
    (cut,) = renderer.render_responses(["word " * 300], max_tokens=50)
    assert chat.special(cut) == []


def test_render_response_follows_the_template_as_its_turns_do(chat: Chat) -> None:
    """A space before the first word where the template puts one, none after a line end."""
    (ids,) = PromptRenderer(chat.tokenizer, CONFIG).render_responses(["Fine."], max_tokens=50)
    both = chat.read(rendered(chat, example()) + ids)
    space = "" if chat.after.endswith("\n") and chat.style.bos != 1 else " "
    assert both.endswith(f"{chat.after}{space}Fine.{chat.end}")


def test_render_history_is_a_prefix_and_the_budget_holds(chat: Chat) -> None:
    entries = [entry(number, review=f"Number {number}.") for number in range(5)]
    shorter, longer = (rendered(chat, example(history=entries[:size])) for size in (3, 5))
    target = len(rendered(chat, example())) - len(PromptRenderer(chat.tokenizer, CONFIG)._head)
    assert longer[: len(shorter) - target] == shorter[:-target]
    tight = rendered(chat, example(history=entries * 20), max_prompt_tokens=700)
    assert 500 < len(tight) <= 700


def test_render_attributes_in_a_template(chat: Chat) -> None:
    text = chat.read(rendered(chat, example(attributes='{"color": "red"}'), task="attributes"))
    product = '\n{"title": "Garden hose", "category": "Garden", "color": "red"}\n%Rating: 2.0.\n### Response:\n'
    assert text.endswith(product + chat.after)


def test_chat_template_that_is_not_there_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match=r"--chat-template: .*has no chat template"):
        PromptRenderer(tokenizer, CONFIG)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages[0].content | upper }}", "0 times"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "2 times"),
        ("{{ raise_exception('only tools') }}", "only tools"),
        ("{% if %}", "cannot be used"),
        ("{{ messages[0].content[0].text }}", "0 times"),
    ],
)
def test_chat_template_that_cannot_be_used_is_refused(tokenizer: Any, template: str, message: str) -> None:
    odd = copy.deepcopy(tokenizer)
    odd.chat_template = template
    with pytest.raises(ConfigError, match=message):
        chat_frame(odd)


def test_chat_template_without_an_end_of_turn_ends_as_the_tokenizer_does(tokenizer: Any, tmp_path: Path) -> None:
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = "{% for one in messages %}{{ one.role }}: {{ one.content }}\n{% endfor %}"
    bare.save_pretrained(tmp_path)
    assert (tmp_path / "chat_template.jinja").is_file()
    assert chat_frame(bare).end == tokenizer.eos_token_id
