"""`opentelemetry-instrument python app.py`: programs that do not know of us, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from support.books import outcomes
from support.programs import PROTOCOLS, environment

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

APP = """
import asyncio

import instructor
from instructor.cache import AutoCache
from pydantic import BaseModel


class User(BaseModel):
    name: str
    age: int


REQUEST = {"messages": [{"role": "user", "content": "Ada is 36"}], "response_model": User}


async def ask_async():
    client = instructor.from_provider(MODEL, cache=AutoCache(), async_client=True)
    answers = [await client.create(**REQUEST) for _ in range(2)]
    await client.client.close()
    return answers


MODEL = "openai/gpt-4.1-mini"
client = instructor.from_provider(MODEL, cache=AutoCache())
answers = [client.create(**REQUEST) for _ in range(3)]
client.client.close()
print([answer.age for answer in [*answers, *asyncio.run(ask_async())]])
"""
SEEN = {"miss": 2, "hit": 3}

ALONE = ",".join(
    sorted(
        {point.name for point in entry_points(group="opentelemetry_instrumentor")} - {"llm_cache"}
    )
)
"""Other instrumentations that are installed here, told to stay away."""
COMMAND = str(Path(sys.executable).with_name("opentelemetry-instrument"))


def run(app: str, directory: Path, variables: dict[str, str], *command: str) -> tuple[str, str]:
    """What a program wrote to stdout and stderr, and that it ended well."""
    script = directory / "app.py"
    script.write_text(app)
    ended = subprocess.run(
        [*command, sys.executable, str(script)],
        env={"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ALONE, **variables},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def printed(simulated_provider: SimulatedProvider, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the program prints when nobody looks."""
    out, _ = run(APP, tmp_path_factory.mktemp("bare"), environment(simulated_provider))
    assert out.count(",") == 4
    return out


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("distro", [True, False], ids=["with the distro", "without"])
def test_a_program_is_observed_without_a_line_changed(
    printed: str,
    distro: bool,
    protocol: str,
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
    tmp_path: Path,
) -> None:
    variables = environment(provider, receiver, protocol, OTEL_SERVICE_NAME="unchanged")
    if not distro:
        variables |= {"OTEL_PYTHON_DISTRO": "none", "OTEL_PYTHON_CONFIGURATOR": "none"}
    out, errors = run(APP, tmp_path, variables, COMMAND)
    assert out == printed
    assert "llm_cache" not in errors, errors
    assert outcomes(receiver) == SEEN
    assert len([span for span in receiver.spans if span.name == "create User"]) == 5
    assert {span.resource["service.name"] for span in receiver.spans} == {"unchanged"}
    distros = {span.resource.get("telemetry.auto.version") for span in receiver.spans}
    assert (distros != {None}) == distro, "whose providers it went through"


@pytest.mark.parametrize("switched_off", ["llm_cache", f"{ALONE} , llm_cache", "*"])
def test_it_is_switched_off_as_any_other(
    printed: str,
    switched_off: str,
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
    tmp_path: Path,
) -> None:
    variables = environment(
        provider,
        receiver,
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=switched_off,
        OTEL_METRICS_EXPORTER="none",
    )
    out, _ = run(
        APP + "import sys; print('llm_cache_otel' in sys.modules)", tmp_path, variables, COMMAND
    )
    assert out == printed + "False\n"
    assert not [span for span in receiver.spans if span.scope == "llm_cache_otel"]


def test_one_line_in_the_program_counts_no_call_twice(
    printed: str, provider: SimulatedProvider, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    app = APP.replace(
        "answers = [client.create",
        "from llm_cache_otel import instrument\n"
        "instrument(client, name='given')\n"
        "answers = [client.create",
    )
    out, _ = run(app, tmp_path, environment(provider, receiver), COMMAND)
    assert out == printed
    assert outcomes(receiver) == SEEN
    names = [s.attributes.get("llm_cache.name") for s in receiver.spans if s.name == "create User"]
    assert sorted(names, key=str) == [None, None, "given", "given", "given"]


def test_a_program_without_instructor_does_not_get_it(
    provider: SimulatedProvider, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    app = """
import sys, threading
print("instructor" in sys.modules, [t.name for t in threading.enumerate() if "llm_cache" in t.name])
"""
    out, _ = run(app, tmp_path, environment(provider, receiver), COMMAND)
    assert out == "False []\n"
    assert receiver.spans == []


BY_HAND = """
from llm_cache_otel.instrumentor import LLMCacheInstrumentor
import sys

LLMCacheInstrumentor().instrument()
assert "instructor" not in sys.modules
"""


def test_before_instructor_is_imported(
    printed: str, provider: SimulatedProvider, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    out, _ = run(BY_HAND + APP, tmp_path, environment(provider, receiver))
    assert out == printed
    assert outcomes(receiver) == SEEN


def test_changed_ones_mind_before_instructor_is_imported(
    printed: str, provider: SimulatedProvider, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    off = "LLMCacheInstrumentor().uninstrument()\n"
    out, _ = run(BY_HAND + off + APP, tmp_path, environment(provider, receiver))
    assert out == printed
    assert receiver.spans == []
    assert receiver.metrics().points == ()


@pytest.mark.parametrize("broken", ["instrumentor.instrument_all", "reporters.reporters.get"])
def test_an_error_of_ours_does_not_break_the_import_of_instructor(
    printed: str, broken: str, provider: SimulatedProvider, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    module, _, name = broken.partition(".")
    sabotage = f"""
import importlib

def fail(*args, **kwargs):
    raise RuntimeError("ours")

importlib.import_module("llm_cache_otel.{module}").{name} = fail
"""
    out, errors = run(BY_HAND + sabotage + APP, tmp_path, environment(provider, receiver))
    assert out == printed
    assert receiver.spans == []
    assert "RuntimeError" in errors, "it is said"
