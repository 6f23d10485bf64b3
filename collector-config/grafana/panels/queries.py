"""What panels ask of Prometheus: metrics, filtered by the dashboards' variables, and the shapes of questions.

Names and labels are those of docs/telemetry.md as the Collector translates them: underscores for dots, and
suffixes for unit and kind.
"""

from __future__ import annotations

from dataclasses import dataclass

SERVICE = "job"
ENVIRONMENT = "deployment_environment_name"
NAME = "llm_cache_name"
PROVIDER = "gen_ai_provider_name"
MODEL = "gen_ai_request_model"
BACKEND = "llm_cache_backend"

VARIABLES = {
    "service": SERVICE,
    "environment": ENVIRONMENT,
    "name": NAME,
    "provider": PROVIDER,
    "model": MODEL,
}
"""Variables of every dashboard, and the label that each of them filters by."""

OF_SERVICE = (SERVICE, ENVIRONMENT)
OF_NAME = (*OF_SERVICE, NAME)
OF_MODEL = (*OF_SERVICE, PROVIDER, MODEL)
OF_CALL = (*OF_NAME, PROVIDER, MODEL)


@dataclass(frozen=True)
class Metric:
    """A series by name, and those of the variables' labels that it has: by others it can't be filtered."""

    series: str
    has: tuple[str, ...]

    def __call__(self, *matchers: str) -> str:
        """As a selector, with further matchers such as `llm_cache_outcome="hit"`."""
        by_variable = [
            f'{label}=~"${variable}"' for variable, label in VARIABLES.items() if label in self.has
        ]
        return f"{self.series}{{{','.join([*by_variable, *matchers])}}}"


REQUESTS = Metric("llm_cache_requests_total", OF_CALL)
REQUEST_SECONDS = Metric("llm_cache_request_duration_seconds_bucket", OF_CALL)
REQUEST_LATEST = Metric("llm_cache_request_duration_latest_seconds_bucket", OF_CALL)
KEY_SECONDS = Metric("llm_cache_key_duration_seconds_bucket", (*OF_SERVICE, PROVIDER))
BACKEND_SECONDS = Metric("llm_cache_backend_duration_seconds_bucket", OF_NAME)
BACKEND_LATEST = Metric("llm_cache_backend_duration_latest_seconds_bucket", OF_NAME)
PROVIDER_SECONDS = Metric("gen_ai_client_operation_duration_seconds_bucket", OF_MODEL)
PROVIDER_LATEST = Metric("gen_ai_client_operation_duration_latest_seconds_bucket", OF_MODEL)
PROVIDER_COUNT = Metric("gen_ai_client_operation_duration_seconds_count", OF_MODEL)
SAVED = Metric("llm_cache_saved_cost_total", OF_CALL)
SAVED_TOKENS = Metric("llm_cache_saved_tokens_total", OF_CALL)
SAVED_SECONDS = Metric("llm_cache_saved_duration_seconds_total", OF_CALL)
SPENT = Metric("llm_cache_spent_cost_total", OF_CALL)
PREMIUM = Metric("llm_cache_write_premium_cost_total", OF_CALL)
UNPRICED = Metric("llm_cache_unpriced_requests_total", OF_MODEL)
PROMPTS = Metric("llm_cache_prompt_requests_total", OF_CALL)
INPUT = Metric("gen_ai_client_inference_usage_input_tokens_total", OF_MODEL)
OUTPUT = Metric("gen_ai_client_inference_usage_output_tokens_total", OF_MODEL)
CACHE_READ = Metric("gen_ai_client_inference_usage_cache_read_input_tokens_total", OF_MODEL)
CACHE_WRITE = Metric("gen_ai_client_inference_usage_cache_write_input_tokens_total", OF_MODEL)
ENTRIES = Metric("llm_cache_entries", OF_NAME)
CAPACITY = Metric("llm_cache_capacity", OF_NAME)
SCHEMAS = Metric("llm_cache_schema_info_ratio", OF_SERVICE)
OWN_ERRORS = Metric("llm_cache_instrumentation_errors_total", OF_SERVICE)

RECENT_REQUESTS = Metric("llm_cache:requests:increase5m", OF_CALL)
RECENT_PROMPTS = Metric("llm_cache:prompt_requests:increase5m", OF_CALL)
RECENT_SAVED = Metric("llm_cache:saved_cost:increase5m", OF_CALL)
RECENT_SPENT = Metric("llm_cache:spent_cost:increase5m", OF_CALL)
RECENT_PREMIUM = Metric("llm_cache:write_premium_cost:increase5m", OF_CALL)
RECENT_BACKEND = Metric("llm_cache:backend_operations:increase5m", OF_NAME)
HIT_RATE = Metric("llm_cache:hit_rate:ratio1h", OF_NAME)
HIT_RATE_BEFORE = Metric("llm_cache:hit_rate:past1d", OF_NAME)

HIT = 'llm_cache_outcome="hit"'
MISS = 'llm_cache_outcome="miss"'
BYPASS = 'llm_cache_outcome="bypass"'
ERROR = 'llm_cache_outcome="error"'
LOOKED_UP = 'llm_cache_outcome=~"hit|miss"'
CACHED = 'llm_cache_outcome!="off"'
PROMPT_LAYER = 'llm_cache_layer="prompt"'
FAILED = 'error_type!=""'

RANGE = "$__range"
RATE = "$__rate_interval"


def rate(selector: str, *by: str) -> str:
    """Per second, summed: of what is counted all the time."""
    return f"{_sum(by)}(rate({selector}[{RATE}]))"


def recent(recorded: str, *by: str) -> str:
    """Per second, summed: of the last five minutes, as recorded."""
    return f"{_sum(by)}({recorded}) / 300"


def seldom(selector: str, *by: str) -> str:
    """Per second, summed, with first values: of what is not recorded."""
    return f"{increase(selector, *by, window=RATE)} / ($__rate_interval_ms / 1000)"


def increase(selector: str, *by: str, window: str = RANGE) -> str:
    """What was counted in a window, summed; with the first values of series that were born in it.

    `increase()` compares samples with those before them, and so does not count a first one. Where things come
    seldom, or labels are new, that is most of it. Born is what was not there when the window began, unless it
    goes on from where it was within the day before: then Prometheus was away. Recording rules do the same.
    """
    least = f"min_over_time({selector}[{window}])"
    known = f"last_over_time({selector}[1d:5m] offset {window})"
    born = f"{least} unless {selector} offset {window} unless {least} >= {known}"
    return _with_born(selector, window, born, by)


def quantile(q: float, buckets: str, *by: str) -> str:
    return f"histogram_quantile({q}, {in_buckets(buckets, *by)})"


def in_buckets(buckets: str, *by: str) -> str:
    """As `increase`, and cheaper: where Prometheus was away it may be fooled, which quantiles hardly show."""
    born = f"min_over_time({buckets}[{RATE}]) unless {buckets} offset {RATE}"
    return _with_born(buckets, RATE, born, ("le", *by))


def _with_born(selector: str, window: str, born: str, by: tuple[str, ...]) -> str:
    # The label keeps the two apart until they are summed.
    born = f'label_replace({born}, "born", "yes", "", "")'
    return f"{_sum(by)}(increase({selector}[{window}]) or {born})"


def share(part: str, whole: str) -> str:
    """A ratio of sums: zero where there is no such part, and absent where the whole is nothing."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def or_zero(expression: str) -> str:
    return f"({expression} or vector(0))"


def _sum(by: tuple[str, ...]) -> str:
    return f"sum by ({', '.join(by)}) " if by else "sum"
