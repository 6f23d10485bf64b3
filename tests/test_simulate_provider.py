"""`llm-cache-otel simulate-provider`, as a user runs it."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import instructor
import openai
import pytest
from pydantic import BaseModel
from support.models import MESSAGES, User

from llm_cache_otel.cli.simulate import SimulatedProvider

COMMAND = [sys.executable, "-P", "-m", "llm_cache_otel", "simulate-provider"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end_and_then_says_what_was_asked(
    ending: signal.Signals,
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--port=0", "--latency=0"],
        env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(7)]
    exported = dict(re.findall(r"(\w+)=(\S+)", " ".join(said)))
    sdk = openai.OpenAI(
        base_url=exported["OPENAI_BASE_URL"], api_key=exported["OPENAI_API_KEY"], max_retries=0
    )
    client = instructor.from_openai(sdk)
    assert client.create(model="gpt-4.1-mini", messages=MESSAGES, response_model=User).name
    sdk.close()
    process.send_signal(ending)
    rest, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert re.search(r"gpt-4.1-mini +1 ", rest)


def test_a_port_that_is_taken_is_said() -> None:
    with subprocess.Popen([*COMMAND, "--port=0"], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        port = re.search(r":(\d+)", first.stdout.readline())
        assert port is not None
        second = subprocess.run(
            [*COMMAND, f"--port={port[1]}"], capture_output=True, text=True, timeout=60, check=False
        )
        first.kill()
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == f"Port {port[1]} is taken. --port=0 finds a free one.\n"


@pytest.mark.parametrize("retention", ["0", "-1", "100000", "1.5", "nan", "soon", ""])
def test_a_retention_that_is_none_is_said(retention: str) -> None:
    ended = subprocess.run(
        [*COMMAND, f"--retention={retention}"],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Invalid value for '--retention': " in ended.stderr


def test_what_the_simulated_provider_was_told_to_forget_has_expired() -> None:
    """As README has it: the program is told how long as well."""
    with subprocess.Popen(
        [*COMMAND, "--port=0", "--latency=0", "--retention=1"], stdout=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stdout is not None
        url = re.search(r"http://\S+?(?=,)", serving.stdout.readline())
        assert url is not None
        program = textwrap.dedent(
            f"""
            import time
            import instructor, openai
            from llm_cache_otel import instrument
            from support.models import User
            from support.prompts import GUIDE
            from support.recording import Recording

            recording = Recording()
            sdk = openai.OpenAI(base_url="{url[0]}/v1", api_key="k")
            client = instrument(instructor.from_openai(sdk), **recording.providers)
            for pause in (0, 0, 1.5):
                time.sleep(pause)
                client.create(
                    model="gpt-4.1-mini",
                    messages=[{{"role": "user", "content": GUIDE}}],
                    response_model=User,
                )
                span = next(each for each in recording.spans() if each.name.startswith("chat"))
                print(span.attributes.get("llm_cache.prompt.reason"))
                recording.clear()
            sdk.close()
            """
        )
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parent),
                "LLM_CACHE_OTEL_PROMPT_RETENTIONS": '{"gpt-4.1-mini": 1}',
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        serving.kill()
    assert ended.stdout.split() == ["first_seen", "None", "expired"], ended.stderr


def refusal(provider: SimulatedProvider, path: str, body: str) -> tuple[int, str]:
    answer = httpx.post(f"{provider.url}{path}", content=body)
    return answer.status_code, answer.json()["error"]["message"]


def test_what_a_real_provider_refuses_is_refused(provider: SimulatedProvider) -> None:
    def marked(*ttls: str) -> str:
        content = [
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": ttl}}
            for ttl in ttls
        ]
        messages = [{"role": "user", "content": content}]
        return json.dumps({"model": "claude-sonnet-4-5", "messages": messages, "max_tokens": 1})

    status, message = refusal(provider, "/v1/messages", marked(*["5m"] * 5))
    assert (status, "maximum of 4" in message) == (400, True)
    status, message = refusal(provider, "/v1/messages", marked("2h"))
    assert (status, "'2h'" in message) == (400, True)
    bodies = {
        "{": "names a model",
        "[]": "names a model",
        '{"model": "m", "tools": 7}': "can't read",
        '{"model": "m", "tools": [{}]}': "can't read",
    }
    for body, complaint in bodies.items():
        status, message = refusal(provider, "/v1/messages", body)
        assert (status, complaint in message) == (400, True), body


@pytest.mark.parametrize("mode", [instructor.Mode.JSON, instructor.Mode.MD_JSON])
def test_a_schema_may_stand_in_the_prompt(
    mode: instructor.Mode, provider: SimulatedProvider
) -> None:
    sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
    client = instructor.from_openai(sdk, mode=mode)
    braces = [{"role": "user", "content": 'Not one: {"properties": 7} { "x" {"type":'}, *MESSAGES]
    assert client.create(model="gpt-4.1-mini", messages=braces, response_model=User).name
    sdk.close()


def test_it_is_processed_as_it_is_asked_to(provider: SimulatedProvider) -> None:
    def tier(**asked: str) -> str:
        body = {"model": "m", "messages": MESSAGES, **asked}
        answer = httpx.post(f"{provider.openai_url}/chat/completions", json=body)
        return str(answer.json()["service_tier"])

    assert [tier(), tier(service_tier="auto"), tier(service_tier="flex")] == [
        *("default", "default"),
        "flex",
    ]


class Tree(BaseModel):
    name: str
    parent: Tree | None
    children: list[Tree]


def test_a_model_may_contain_itself(provider: SimulatedProvider) -> None:
    sdk = openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0)
    client = instructor.from_openai(sdk)
    assert client.create(model="gpt-4.1-mini", messages=MESSAGES, response_model=Tree).name
    sdk.close()
