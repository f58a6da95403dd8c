"""Prompts through an endpoint that answers, refuses, fails, hangs and asks for patience: a real server on loopback."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from contextlib import aclosing
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from generation.endpoint_server import KEY, Call, EndpointServer, Reply, error, text, texts
from pydantic import SecretStr

from reviewllm.errors import ConfigError, EngineError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint import Endpoint, EndpointPrompt, usable_drafts
from reviewllm.generation.endpoint_client import Answer
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.endpoint_journal import Costs
from reviewllm.generation.engine import Draft
from reviewllm.generation.failures import Failure

PROMPTS = ["one", "two", "three"]


class Written(NamedTuple):
    """What an endpoint gave, and what it cost."""

    results: list[Answer | Failure]
    costs: dict[str, Costs]

    @property
    def texts(self) -> list[str]:
        """The texts, or the classes of what went wrong."""
        return [result.text if isinstance(result, Answer) else result.error_class for result in self.results]


def config_of(server: EndpointServer, **options: Any) -> EndpointConfig:
    return EndpointConfig(**{"url": server.url, "model": "gpt-test", "api_key_variable": "TEST_KEY", **options})


def write(
    server: EndpointServer,
    folder: Path,
    prompts: Sequence[str] = PROMPTS,
    *,
    key: str | None = KEY,
    generation: GenerationConfig | None = None,
    **options: Any,
) -> Written:
    """Ask for each prompt; the second attempt comes after 0.05 s at most."""
    generation = generation or GenerationConfig(max_new_tokens=50)
    secret = SecretStr(key) if key else None

    async def run() -> Written:
        endpoint = Endpoint(
            config_of(server, **options), generation, key=secret, journal=folder / "answers.jsonl", backoff_s=0.05
        )
        async with aclosing(endpoint):
            asked = [EndpointPrompt(prompt, 7, number) for number, prompt in enumerate(prompts)]
            return Written(await endpoint.write(asked), endpoint.costs())

    return asyncio.run(run())


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def first(reply: Reply, *, times: int = 1, prompt: str = "two") -> Any:
    """A rule: one prompt gets `reply` so often, and then, as the others at once, its answer."""
    return lambda call: reply if call.prompt == prompt and call.number <= times else text(f"Answer to {call.prompt}")


def test_write_in_order_with_the_sampling_of_the_run(server: EndpointServer, tmp_path: Path) -> None:
    server.rule = lambda call: text(f" Ünï \U0001f600 \u2028 {call.prompt}\n", delay_s=0.2 if call.prompt == "one" else 0)
    sampling = GenerationConfig(max_new_tokens=50, temperature=0.5, top_p=0.9)
    written = write(server, tmp_path, ["one", "zwö \U0001f600"], generation=sampling, extra_body={"top_k": 5})
    assert written.texts == ["Ünï \U0001f600 \u2028 one", "Ünï \U0001f600 \u2028 zwö \U0001f600"]
    sent = next(call for call in server.calls if call.prompt == "one")
    assert (sent.path, sent.headers["authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert sent.body == {
        "model": "gpt-test",
        "messages": [{"role": "user", "content": "one"}],
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 0,
        "top_k": 5,
    }


def test_write_by_the_api_of_completions(server: EndpointServer, tmp_path: Path) -> None:
    assert write(server, tmp_path, ["one"], api="completions").texts == ["Answer to one"]
    (call,) = server.calls
    assert (call.path, call.body["prompt"], call.body["max_tokens"]) == ("/v1/completions", "one", 50)


def test_write_without_a_key_sends_none_that_lies_around(
    server: EndpointServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", KEY)
    write(server, tmp_path, ["one"], key=None)
    assert "authorization" not in server.calls[0].headers


@pytest.mark.parametrize(
    "trouble",
    [
        error(429, "slow down"),
        error(500),
        error(503, "overloaded"),
        Reply(200, b"<html>"),
        Reply(200, {"choices": []}),
        Reply(200, {}, reset=True),
        text("too late", delay_s=3),
    ],
    ids=["429", "500", "503", "html", "no choices", "reset", "hang"],
)
def test_write_transient_trouble_is_asked_again(server: EndpointServer, tmp_path: Path, trouble: Reply) -> None:
    server.rule = first(trouble, times=2)
    assert write(server, tmp_path, timeout_s=1 if trouble.delay_s else 30).texts == [
        f"Answer to {prompt}" for prompt in PROMPTS
    ]
    assert [call.prompt for call in server.calls].count("two") == 3
    assert len(lines(tmp_path)) == 3


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (error(500, f"it broke; you sent {KEY}"), r"500: it broke; you sent \[key\]$"),
        (Reply(200, {}, reset=True), r"no connection: .*Connection reset by peer$"),
        (text("late", delay_s=3), r"no answer within 1 s"),
        (Reply(200, b'{"choices": [{}]}'), "its answer is no completion"),
    ],
    ids=["500", "reset", "hang", "garbage"],
)
def test_write_a_row_that_never_succeeds_fails_and_is_not_kept(
    server: EndpointServer, tmp_path: Path, trouble: Reply, why: str
) -> None:
    server.rule = first(trouble, times=99)
    written = write(server, tmp_path, max_attempts=2, timeout_s=1 if trouble.delay_s else 30)
    assert written.texts == ["Answer to one", "EngineFailed", "Answer to three"]
    failure = written.results[1]
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.attempts) == ("generate", 2)
    assert re.search(why, failure.message)
    assert len(lines(tmp_path)) == 2
    server.rule = first(trouble, times=0)
    assert write(server, tmp_path).texts[1] == "Answer to two"


def test_write_retry_after_holds_every_request(server: EndpointServer, tmp_path: Path) -> None:
    server.rule = first(error(429, headers={"retry-after": "1"}))
    write(server, tmp_path, max_concurrency=1)
    refused, again = (call.at for call in server.calls if call.prompt == "two")
    assert again - refused >= 1  # where a second attempt comes after 0.05 s at most
    assert [call.prompt for call in server.calls] == ["one", "two", "two", "three"]


def test_write_retry_after_may_be_a_date(server: EndpointServer, tmp_path: Path) -> None:
    server.rule = first(error(503, headers={"retry-after": formatdate(time.time() + 2, usegmt=True)}))
    write(server, tmp_path, max_concurrency=1)
    refused, again = (call.at for call in server.calls if call.prompt == "two")
    assert again - refused > 0.8  # a date has no fractions of a second


def test_write_an_endpoint_that_wants_hours_stops_the_run(server: EndpointServer, tmp_path: Path) -> None:
    server.rule = first(error(429, "daily limit", headers={"retry-after": "7200"}))
    with pytest.raises(EngineError, match=r"wants no request for 7200 s \(429: daily limit\); run the same again then"):
        write(server, tmp_path, max_concurrency=1)
    assert [line["text"] for line in lines(tmp_path)] == ["Answer to one"]


@pytest.mark.parametrize(
    ("reply", "error_class", "why"),
    [
        (
            error(400, "maximum context length is 9", code="context_length_exceeded"),
            "Refused",
            "maximum context length is 9",
        ),
        (error(400, "policy", code="content_filter"), "Refused", "400: policy"),
        (error(422, "unprocessable"), "Refused", "422: unprocessable"),
        (error(403, "flagged"), "Refused", "403: flagged"),
        (text("Half a", reason="content_filter"), "Refused", "content filter refused: Half a"),
        (text(None, reason="content_filter"), "Refused", "content filter refused"),
        (text(" \n"), "EmptyOutput", "the model wrote nothing"),
        (text(None, reason="length"), "EmptyOutput", "wrote nothing within --max-new-tokens: one that reasons"),
    ],
)
def test_write_what_will_never_be_is_a_failure_of_its_row(
    server: EndpointServer, tmp_path: Path, reply: Reply, error_class: str, why: str
) -> None:
    server.rule = first(reply, times=99)
    written = write(server, tmp_path)
    assert written.texts == ["Answer to one", error_class, "Answer to three"]
    failure = written.results[1]
    assert isinstance(failure, Failure)
    assert why in failure.message
    assert [call.prompt for call in server.calls].count("two") == 1
    write(server, tmp_path)
    billed = reply.status == 200
    assert [call.prompt for call in server.calls].count("two") == (1 if billed else 2)  # what was billed is kept


def test_write_half_a_surrogate_pair_is_text_that_can_be_kept(server: EndpointServer, tmp_path: Path) -> None:
    server.rule = lambda call: Reply(200, b'{"choices": [{"message": {"content": "a\\ud800"}, "finish_reason": null}]}')
    (answer,) = write(server, tmp_path, ["one"]).results
    assert isinstance(answer, Answer)
    assert (answer.text, answer.finish_reason, answer.prompt_tokens) == ("a?", "stop", None)


def stop_after(good: int, reply: Reply) -> Any:
    """A rule: so many answers, then this."""
    given: list[Call] = []

    def rule(call: Call) -> Reply:
        given.append(call)
        return text(f"Answer to {call.prompt}") if len(given) <= good else reply

    return rule


@pytest.mark.parametrize(
    ("reply", "kind", "why"),
    [
        (error(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key"), ConfigError, "TEST_KEY"),
        (error(429, "You exceeded your current quota", code="insufficient_quota"), EngineError, "for want of money: 429"),
        (error(429, "You exceeded your quota", type="insufficient_quota"), EngineError, "top the account up"),
        (error(402, "payment required"), EngineError, "for want of money: 402"),
        (error(404, "no such model", code="model_not_found"), ConfigError, "does not know the model 'gpt-test'"),
        (error(400, "Unsupported value", param="temperature"), ConfigError, r"unsupported: \[temperature\]"),
    ],
    ids=["401", "quota", "quota type", "402", "404", "temperature"],
)
def test_write_an_endpoint_that_writes_nothing_more_stops_the_run_and_loses_nothing(
    server: EndpointServer, tmp_path: Path, reply: Reply, kind: type[Exception], why: str
) -> None:
    server.rule = stop_after(4, reply)
    prompts = [str(number) for number in range(50)]
    with pytest.raises(kind, match=why) as raised:
        write(server, tmp_path, prompts, max_concurrency=2)
    assert KEY not in str(raised.value)
    assert raised.value.__cause__ is None
    assert len(server.calls) <= 4 + 2
    assert len(lines(tmp_path)) == 4
    server.rule = lambda call: text("Later.")
    asked = len(server.calls)
    assert len(write(server, tmp_path, prompts).results) == 50
    assert len(server.calls) - asked == 46


def test_write_nobody_there_any_more_stops_the_run(server: EndpointServer, tmp_path: Path) -> None:
    server.rule = stop_after(3, error(502, "bad gateway"))
    prompts = [str(number) for number in range(200)]
    with pytest.raises(
        EngineError, match=r"answered none of 20 rows one after another, each asked up to 2 times \(.*502: bad gateway"
    ):
        write(server, tmp_path, prompts, max_attempts=2)
    assert len(lines(tmp_path)) == 3
    assert len(server.calls) < 3 + 2 * (20 + 8)


def test_write_as_many_at_once_as_allowed(server: EndpointServer, tmp_path: Path) -> None:
    server.rule = lambda call: text("Fine.", delay_s=0.2)
    started = time.monotonic()
    write(server, tmp_path, [str(number) for number in range(12)], max_concurrency=4)
    assert server.most_at_once == 4
    assert time.monotonic() - started >= 12 / 4 * 0.2


def test_write_not_faster_than_allowed(server: EndpointServer, tmp_path: Path) -> None:
    # 57 tokens a row (7 and 50) at 34,200 a minute are 10 rows a second
    write(server, tmp_path, [str(number) for number in range(6)], tokens_per_minute=34_200, requests_per_minute=6000)
    times = [call.at for call in server.calls]
    assert times[-1] - times[0] >= 5 * 0.1 - 0.05


def test_write_newer_models_get_the_newer_name_of_the_limit(server: EndpointServer, tmp_path: Path) -> None:
    message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."

    def rule(call: Call) -> Reply:
        if "max_tokens" in call.body:
            return error(400, message, param="max_tokens", code="unsupported_parameter")
        return text("Fine.") if call.body["max_completion_tokens"] == 50 else error(400)

    server.rule = rule
    written = write(server, tmp_path, max_concurrency=1, unsupported=["temperature", "top_p", "seed"])
    assert written.texts == ["Fine."] * 3
    assert len(server.calls) == 1 + 3
    assert not {"temperature", "top_p", "seed"} & set(server.calls[-1].body)


def test_costs_are_those_of_this_run_and_of_all(server: EndpointServer, tmp_path: Path) -> None:
    prices = {"price_per_million_prompt_tokens": 2.0, "price_per_million_completion_tokens": 8.0}
    server.rule = lambda call: text("Fine.", prompt_tokens=1000, completion_tokens=100)
    write(server, tmp_path, ["one", "two"], **prices)
    costs = write(server, tmp_path, ["one", "three"], **prices).costs
    each = (1000 * 2 + 100 * 8) / 1e6
    assert costs["used"][:4] == (2, 0, 2 * 1000, 2 * 100)
    assert [costs[name].requests for name in ("paid", "used", "all")] == [1, 2, 3]
    assert [costs[name].cost for name in ("paid", "used", "all")] == pytest.approx([each, 2 * each, 3 * each])


def test_no_key_is_ever_written_or_logged(
    server: EndpointServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    server.rule = first(error(500, f"you sent {KEY}"), times=99)
    written = write(server, tmp_path, max_attempts=2)
    files = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    shown = "".join(capfd.readouterr()) + caplog.text + repr(written)
    assert files
    assert KEY.encode() not in files
    assert KEY not in shown


DRAFTED = GenerationConfig(max_new_tokens=50, temperature=0.8, drafts=3)


def test_write_drafts_in_one_request_and_keep_them(server: EndpointServer, tmp_path: Path) -> None:
    server.rule = lambda call: texts(f"{call.prompt} 1", " ", f"{call.prompt} 3")
    for _ in range(2):  # asked, and out of the journal
        (answer,) = write(server, tmp_path, ["one"], generation=DRAFTED).results
        assert isinstance(answer, Answer)
        assert usable_drafts(answer) == [Draft("one 1", "stop"), Draft("one 3", "stop")]
    assert [call.body["n"] for call in server.calls] == [3]


def test_write_drafts_none_of_which_is_a_text_fails_the_row(server: EndpointServer, tmp_path: Path) -> None:
    server.rule = lambda call: texts("", " ", "")
    assert write(server, tmp_path, ["one"], generation=DRAFTED).texts == ["EmptyOutput"]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (text("alone"), r"gives 1 text\(s\) to a request for 3 \(n\); leave out --drafts"),
        (error(400, "n must be 1", param="n"), "does not take n, several texts in one request"),
    ],
)
def test_write_drafts_by_an_endpoint_that_writes_one_is_refused(
    server: EndpointServer, tmp_path: Path, reply: Reply, message: str
) -> None:
    server.rule = lambda call: reply
    with pytest.raises(ConfigError, match=message):
        write(server, tmp_path, ["one"], generation=DRAFTED)
