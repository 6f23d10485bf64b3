"""Every name this package emits. `docs/telemetry.md` is the reference for what they mean.

GenAI names follow https://github.com/open-telemetry/semantic-conventions-genai at revision
024a4f944a1291fcb627c9c47da69e79868dd15e (still in development, hence the pinned revision), except
that the operation's duration keeps the metric name that the published instrumentations emit.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "llm_cache_otel"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

# Span names
CREATE: Final = "create"
CACHE_LOOKUP: Final = "cache lookup"
CACHE_STORE: Final = "cache store"

# Attributes of the response cache
OUTCOME: Final = "llm_cache.outcome"
REASON: Final = "llm_cache.reason"
BACKEND: Final = "llm_cache.backend"
NAME: Final = "llm_cache.name"
KEY_DIGEST: Final = "llm_cache.key.digest"
KEY_DURATION: Final = "llm_cache.key.duration"  # an attribute of spans, and a metric
SCHEMA_DIGEST: Final = "llm_cache.schema.digest"
TTL: Final = "llm_cache.ttl"
NAMESPACE_SHARED: Final = "llm_cache.namespace.shared"
SAVED_DURATION: Final = "llm_cache.saved.duration"  # an attribute of spans, and a metric
SAVED_COST: Final = "llm_cache.saved.cost"  # an attribute of spans, and a metric
SAVED_IS_LEAST: Final = "llm_cache.saved.lower_bound"
SAVED_INPUT_TOKENS: Final = "llm_cache.saved.tokens.input"
SAVED_OUTPUT_TOKENS: Final = "llm_cache.saved.tokens.output"
SPENT_COST: Final = "llm_cache.spent.cost"  # an attribute of spans, and a metric
WRITE_PREMIUM_COST: Final = "llm_cache.write_premium.cost"  # an attribute of spans, and a metric
LAYER: Final = "llm_cache.layer"
TOKEN_TYPE: Final = "llm_cache.token.type"
UNPRICED_REASON: Final = "llm_cache.unpriced.reason"
ATTEMPTS: Final = "llm_cache.attempts"
BYPASS_PART: Final = "llm_cache.bypass.part"
HIT: Final = "llm_cache.hit"
ENTRY_SIZE: Final = "llm_cache.entry.size"
OPERATION: Final = "llm_cache.operation"
DIVERGENCE_PART: Final = "llm_cache.divergence.part"
DIVERGENCE_PARTS: Final = "llm_cache.divergence.parts"
DIVERGENCE_MESSAGE: Final = "llm_cache.divergence.message"
DIVERGENCE_OFFSET: Final = "llm_cache.divergence.offset"
DIVERGENCE_BLOCK: Final = "llm_cache.divergence.block"
DIVERGENCE_VOLATILE: Final = "llm_cache.divergence.volatile"

# Attributes of the provider's prompt cache
PROMPT_OUTCOME: Final = "llm_cache.prompt.outcome"
PROMPT_REASON: Final = "llm_cache.prompt.reason"
PROMPT_EXPECTED: Final = "llm_cache.prompt.expected_tokens"
INSTRUMENTATION_WHERE: Final = "llm_cache.instrumentation.where"

# Attributes of Instructor
MODE: Final = "instructor.mode"
RESPONSE_MODEL: Final = "instructor.response_model"
PARSE_ERROR_TYPE: Final = "instructor.parse_error.type"

# Attributes of the semantic conventions
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_PREFIX: Final = "gen_ai.request."
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_TOKEN_MODALITY: Final = "gen_ai.token.modality"
GEN_AI_USAGE_INPUT: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"

# Names of metrics
REQUESTS: Final = "llm_cache.requests"
REQUEST_DURATION: Final = "llm_cache.request.duration"
BACKEND_DURATION: Final = "llm_cache.backend.duration"
ENTRIES: Final = "llm_cache.entries"
CAPACITY: Final = "llm_cache.capacity"
SCHEMA_INFO: Final = "llm_cache.schema.info"
SAVED_TOKENS: Final = "llm_cache.saved.tokens"
PROMPT_REQUESTS: Final = "llm_cache.prompt.requests"
UNPRICED_REQUESTS: Final = "llm_cache.unpriced.requests"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.output_tokens"
GEN_AI_CACHE_READ_TOKENS: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
GEN_AI_CACHE_WRITE_TOKENS: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
INSTRUMENTATION_ERRORS: Final = "llm_cache.instrumentation.errors"
GEN_AI_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"

# Context keys of others
UTIL_GENAI_INFERENCE: Final = "opentelemetry.genai.client.inference.context"
"""Set by `opentelemetry-util-genai` while one of its inference spans is open."""

SUPPRESS_LANGUAGE_MODEL: Final = "suppress_language_model_instrumentation"
"""Set by frameworks' instrumentations that tell the inference themselves, where OpenLLMetry's look for it."""
