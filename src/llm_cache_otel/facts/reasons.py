"""Closed sets: what the caches did, and why. Each value is evidence, never a guess."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What the response cache did (`llm_cache.outcome`)."""

    HIT = "hit"
    MISS = "miss"
    BYPASS = "bypass"
    ERROR = "error"
    OFF = "off"


class MissReason(StrEnum):
    """What differs from the nearest earlier request of this cache in this process."""

    NEW_PROMPT = "new_prompt"
    NEAR_DUPLICATE_PROMPT = "near_duplicate_prompt"
    MODEL_CHANGED = "model_changed"
    SCHEMA_CHANGED = "schema_changed"
    MODE_CHANGED = "mode_changed"
    PARAMETERS_CHANGED = "parameters_changed"
    CONTEXT_CHANGED = "context_changed"
    NAMESPACE_CHANGED = "namespace_changed"
    CLIENT_CHANGED = "client_changed"
    SEVERAL_CHANGED = "several_changed"
    EXPIRED = "expired"
    EVICTED = "evicted"
    LOST = "lost"
    NOT_STORED = "not_stored"
    IN_FLIGHT = "in_flight"
    ENTRY_INVALID = "entry_invalid"


class BypassReason(StrEnum):
    """Why a request could never be served from the cache it was given."""

    UNSERIALIZABLE_REQUEST = "unserializable_request"
    NOT_A_CACHE = "not_a_cache"
    STREAMING = "streaming"
    NOT_A_MODEL = "not_a_model"
    NO_RESPONSE_MODEL = "no_response_model"
    PARALLEL_TOOLS = "parallel_tools"


class ErrorReason(StrEnum):
    """How the cache itself failed the call before an answer."""

    BACKEND_UNAVAILABLE = "backend_unavailable"
    ENTRY_INVALID = "entry_invalid"


Reason = MissReason | BypassReason | ErrorReason


class Unpriced(StrEnum):
    """Why no dollars are shown (`llm_cache.unpriced.reason`)."""

    UNKNOWN_MODEL = "unknown_model"
    NO_USAGE = "no_usage"


class PromptOutcome(StrEnum):
    """What the provider's prompt cache did (`llm_cache.prompt.outcome`)."""

    READ = "read"
    WRITE = "write"
    MISS = "miss"
    INELIGIBLE = "ineligible"
    UNREPORTED = "unreported"


class PromptReason(StrEnum):
    """Why nothing was read (`llm_cache.prompt.reason`)."""

    FIRST_SEEN = "first_seen"
    PREFIX_CHANGED = "prefix_changed"
    EXPIRED = "expired"
    UNEXPLAINED = "unexplained"
    BELOW_MINIMUM = "below_minimum"
    UNMARKED = "unmarked"
