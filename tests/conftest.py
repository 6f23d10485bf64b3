from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from hypothesis import settings
from opentelemetry.trace import get_current_span
from support.programs import environment, unmeasured
from support.recording import Recording
from support.stage import Stage

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import Cue, SimulatedProvider
from llm_cache_otel.emit import log
from llm_cache_otel.later import later

# The neighbours want newer versions of everything than the oldest that we go with.
collect_ignore = [] if find_spec("opentelemetry.instrumentation.openai_v2") else ["test_company.py"]
pytest.register_assert_rewrite("support.books", "support.puppet", "support.scene")

settings.register_profile("on any machine", deadline=None)
settings.load_profile("on any machine")

os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # Logfire brings one, which is not our subject
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks the network when it is imported


@pytest.fixture(scope="session")
def simulated_provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        yield provider


@pytest.fixture
def provider(simulated_provider: SimulatedProvider) -> Iterator[SimulatedProvider]:
    """The simulated provider, with no cues left from an earlier test."""
    simulated_provider.cues.clear()
    yield simulated_provider
    simulated_provider.cues.clear()
    simulated_provider.cues.default = Cue()


@pytest.fixture(scope="session")
def stage(simulated_provider: SimulatedProvider) -> Iterator[Stage]:
    with Stage(unmeasured(environment(simulated_provider))) as stage:
        yield stage


class PatientLog(pytest.LogCaptureFixture):
    """Has what calls have noted said before it is looked at."""

    @property
    def messages(self) -> list[str]:
        later.wait(10)
        return super().messages

    @property
    def records(self) -> list[logging.LogRecord]:
        later.wait(10)
        return super().records


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.__class__ = PatientLog
    return caplog


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    """Nothing was said in an earlier test that would be said once only."""
    log._causes.clear()


@pytest.fixture
def may_fail_inside() -> bool:
    """Overridden by tests that make the instrumentation itself fail."""
    return False


@pytest.fixture
def recording(may_fail_inside: bool) -> Iterator[Recording]:
    """What is emitted. A test fails if the instrumentation swallowed an error of its own."""
    recording = Recording()
    yield recording
    if not may_fail_inside:
        assert not get_current_span().get_span_context().is_valid, "a context was left attached"
        assert (
            recording.sums("llm_cache.instrumentation.errors", "llm_cache.instrumentation.where")
            == {}
        )
    recording.tracer_provider.shutdown()
    recording.meter_provider.shutdown()


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver
