"""What happened: frozen dataclasses and closed enums.

This package knows no one. Facts are evidence, free of OpenTelemetry and of Instructor, so that what
they mean (`llm_cache_otel.interpret`) can be tested without either. Times are nanoseconds since the
Unix epoch; within one call they never step back.
"""

from llm_cache_otel.facts.call import (
    AnswerKind,
    AttemptFacts,
    BackendFacts,
    CacheGiven,
    CallFacts,
    InferenceRequest,
    InferenceResponse,
    Inside,
    Interval,
    KeyFacts,
    LookupFacts,
    Neighbour,
    Opening,
    Operation,
    Scope,
    SpanRole,
    Spared,
    StoreFacts,
    Verdict,
)
from llm_cache_otel.facts.miss import (
    Diagnosis,
    Divergence,
    History,
    KeyedRequest,
    KeyPart,
    Miss,
    Section,
)
from llm_cache_otel.facts.origin import Charge, FunctionHits, Origin, OriginHits, StaleModel
from llm_cache_otel.facts.prompt import PromptFinding, SentPrompt
from llm_cache_otel.facts.reasons import (
    BypassReason,
    ErrorReason,
    MissReason,
    Outcome,
    PromptOutcome,
    PromptReason,
    Reason,
    Unpriced,
)
from llm_cache_otel.facts.tokens import EXACT, Bill, Cost, Reported, Usage

__all__ = [
    "EXACT",
    "AnswerKind",
    "AttemptFacts",
    "BackendFacts",
    "Bill",
    "BypassReason",
    "CacheGiven",
    "CallFacts",
    "Charge",
    "Cost",
    "Diagnosis",
    "Divergence",
    "ErrorReason",
    "FunctionHits",
    "History",
    "InferenceRequest",
    "InferenceResponse",
    "Inside",
    "Interval",
    "KeyFacts",
    "KeyPart",
    "KeyedRequest",
    "LookupFacts",
    "Miss",
    "MissReason",
    "Neighbour",
    "Opening",
    "Operation",
    "Origin",
    "OriginHits",
    "Outcome",
    "PromptFinding",
    "PromptOutcome",
    "PromptReason",
    "Reason",
    "Reported",
    "Scope",
    "Section",
    "SentPrompt",
    "SpanRole",
    "Spared",
    "StaleModel",
    "StoreFacts",
    "Unpriced",
    "Usage",
    "Verdict",
]
