"""Every example runs as it stands, and a receiver gets what its text promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.redis_server import redis_server

from llm_cache_otel.cli.receiver import OtlpReceiver

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(
    name: str, receiver: OtlpReceiver, directory: Path | None = None, **environment: str
) -> None:
    kept = {
        variable: value
        for variable, value in os.environ.items()
        if not variable.startswith(("OTEL_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_"))
    }
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc_endpoint}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env={**kept, **endpoint, **environment},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def outcomes(receiver: OtlpReceiver, **where: str) -> dict[str, float]:
    metrics = receiver.metrics()
    return {
        outcome: metrics.total("llm_cache.requests", {"llm_cache.outcome": outcome, **where})
        for (outcome,) in metrics.values("llm_cache.requests", "llm_cache.outcome")
    }


def test_quickstart() -> None:
    with OtlpReceiver() as receiver:
        run("quickstart.py", receiver)
        assert outcomes(receiver) == {"hit": 1, "miss": 2}


def test_quickstart_async() -> None:
    with OtlpReceiver() as receiver:
        run("quickstart_async.py", receiver)
        assert outcomes(receiver, **{"llm_cache.name": "cities"}) == {"hit": 3, "miss": 3}


def test_shared_redis(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url, OtlpReceiver() as receiver:
        for _ in range(2):
            run("shared_redis.py", receiver, REDIS_URL=url)
        assert outcomes(receiver, **{"llm_cache.backend": "redis"}) == {"hit": 4, "miss": 2}


def test_every_example_is_run_here() -> None:
    tested = {"quickstart.py", "quickstart_async.py", "shared_redis.py"}
    tested |= {"openai_prompt_caching.py", "anthropic_prompt_caching.py"}
    tested |= {"openai_sdk.py", "anthropic_sdk.py", "gemini_sdk.py"}
    tested |= {"functools_cache.py", "diskcache_decorator.py", "redis_decorator.py"}
    tested |= {"instructor_cache_decorator.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested | {"offline.py"}


def saved_by_the_prompt_cache(receiver: OtlpReceiver) -> float:
    return receiver.metrics().total(
        "llm_cache.saved.cost", {"llm_cache.layer": "prompt", "llm_cache.name": "contracts"}
    )


def test_openai_prompt_caching() -> None:
    with OtlpReceiver() as receiver:
        run("openai_prompt_caching.py", receiver)
        assert saved_by_the_prompt_cache(receiver) > 0
        assert receiver.metrics().total("llm_cache.write_premium.cost") == 0


def test_anthropic_prompt_caching() -> None:
    with OtlpReceiver() as receiver:
        run("anthropic_prompt_caching.py", receiver)
        saved = saved_by_the_prompt_cache(receiver)
        assert saved > receiver.metrics().total("llm_cache.write_premium.cost") > 0


@pytest.mark.parametrize("name", ["openai_sdk.py", "anthropic_sdk.py", "gemini_sdk.py"])
def test_the_sdks_by_themselves(name: str) -> None:
    """Two calls of one attempt each: the first has the prompt cached, and the second reads it."""
    with OtlpReceiver() as receiver:
        run(name, receiver)
        of_these = {"llm_cache.name": "contracts"}
        metrics = receiver.metrics()
        assert outcomes(receiver, **of_these) == {"off": 2}
        creates = [span for span in receiver.spans if span.name == "create"]
        attempts = [span for span in receiver.spans if span.name.startswith(("chat", "generate"))]
        assert {span.parent_span_id for span in attempts} == {span.span_id for span in creates}
        first, second = (
            span.attributes for span in sorted(attempts, key=lambda span: span.start_ns)
        )
        assert first["llm_cache.prompt.outcome"] in ("write", "miss", "unreported")
        assert second["llm_cache.prompt.outcome"] == "read"
        read = second["gen_ai.usage.cache_read.input_tokens"]
        assert 1024 <= read < second["gen_ai.usage.input_tokens"]
        assert metrics.total("gen_ai.client.inference.usage.cache_read.input_tokens") == read
        spent = [each["llm_cache.spent.cost"] for each in (first, second)]
        assert metrics.total("llm_cache.spent.cost", of_these) == pytest.approx(sum(spent))
        assert spent[1] < spent[0]
        saved = second["llm_cache.saved.cost"]
        assert saved_by_the_prompt_cache(receiver) == pytest.approx(saved)
        assert saved > 0
        assert metrics.total("llm_cache.unpriced.requests") == 0


def saved_by_the_response_cache(receiver: OtlpReceiver) -> float:
    return receiver.metrics().total("llm_cache.saved.cost", {"llm_cache.layer": "response"})


def of_functions(receiver: OtlpReceiver, backend: str) -> dict[str, float]:
    """Outcomes of what has the cache; those of the client, which has none, are `off`."""
    found = outcomes(receiver, **{"llm_cache.backend": backend})
    return {outcome: count for outcome, count in found.items() if count}


def test_functools_cache() -> None:
    with OtlpReceiver() as receiver:
        run("functools_cache.py", receiver)
        assert of_functions(receiver, "function") == {"hit": 1, "miss": 2}
        spent = receiver.metrics().total("llm_cache.spent.cost")
        assert 0 < saved_by_the_response_cache(receiver) < spent


def run_twice(name: str, backend: str, directory: Path, **environment: str) -> None:
    """In processes that share a store: what one paid for two answers, the other spares, and one hit each."""
    with OtlpReceiver() as receiver:
        run(name, receiver, directory, **environment)
        assert of_functions(receiver, backend) == {"hit": 1, "miss": 2}
        spent = receiver.metrics().total("llm_cache.spent.cost")
        of_one = saved_by_the_response_cache(receiver)
        assert 0 < of_one < spent
        run(name, receiver, directory, **environment)
        assert of_functions(receiver, backend) == {"hit": 4, "miss": 2}
        assert receiver.metrics().total("llm_cache.spent.cost") == spent
        if name.startswith("instructor_cache"):
            both = 2 * of_one + spent
            assert saved_by_the_response_cache(receiver) == pytest.approx(both)
        else:  # an entry of one's own does not say what it took
            assert saved_by_the_response_cache(receiver) == of_one


def test_diskcache_decorator(tmp_path: Path) -> None:
    run_twice("diskcache_decorator.py", "disk", tmp_path)


def test_redis_decorator(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        run_twice("redis_decorator.py", "redis", tmp_path, REDIS_URL=url)


def test_instructor_cache_decorator(tmp_path: Path) -> None:
    run_twice("instructor_cache_decorator.py", "disk", tmp_path)
    with redis_server(tmp_path) as url:
        run_twice("instructor_cache_decorator.py", "redis", tmp_path, REDIS_URL=url)
