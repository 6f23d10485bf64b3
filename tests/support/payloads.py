"""What providers report, as their SDKs and documentation have it, and what that comes to by hand."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from anthropic.types import Usage as AnthropicUsage
from google.genai.types import GenerateContentResponseUsageMetadata
from openai.types import CompletionUsage
from openai.types.responses import ResponseUsage

from llm_cache_otel.facts import Usage

CREATED = 1_794_752_000.0
"""Every row is priced as of then, 2026-11-15 at 14:13 UTC."""


@dataclass(frozen=True)
class Payload:
    """`spent`, `saved` and `premium` are USD, worked out by hand from the rates in `worked`."""

    source: str
    provider: str
    model: str
    reported: Any
    usage: Usage
    spent: str
    saved: str
    premium: str
    worked: str
    tier: str | None = None

    @property
    def dollars(self) -> tuple[Decimal, Decimal, Decimal]:
        return Decimal(self.spent), Decimal(self.saved), Decimal(self.premium)


_CHAT = "https://platform.openai.com/docs/guides/prompt-caching"
_ANTHROPIC = "https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching"
_CONVERSE = "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html"
_GEMINI = "https://ai.google.dev/api/generate-content#UsageMetadata"

PAYLOADS: dict[str, Payload] = {
    "openai chat": Payload(
        source=_CHAT,
        provider="openai",
        model="gpt-4o-2024-08-06",
        reported=CompletionUsage.model_validate(
            {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
            }
        ),
        usage=Usage(input=2006, output=300, cache_read=1920, reasoning=0),
        spent="0.005615",
        saved="0.0024",
        premium="0",
        worked="86*2.50 + 1920*1.25 + 300*10",
    ),
    "openai chat, nothing cached": Payload(
        source=_CHAT,
        provider="openai",
        model="gpt-4.1-mini",
        reported={
            "prompt_tokens": 117,
            "completion_tokens": 8,
            "total_tokens": 125,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
        usage=Usage(input=117, output=8, cache_read=0),
        spent="0.0000596",
        saved="0",
        premium="0",
        worked="117*0.40 + 8*1.60",
    ),
    "openai chat, nothing said of a cache": Payload(
        source="https://platform.openai.com/docs/api-reference/chat/object",
        provider="openai",
        model="gpt-4.1-mini",
        reported=CompletionUsage(prompt_tokens=117, completion_tokens=8, total_tokens=125),
        usage=Usage(input=117, output=8),
        spent="0.0000596",
        saved="0",
        premium="0",
        worked="117*0.40 + 8*1.60",
    ),
    "openai chat, as rebuilt on a hit": Payload(
        source="instructor.cache.load_cached_response, which makes SimpleNamespaces",
        provider="openai",
        model="gpt-4.1-mini-2025-04-14",
        reported=SimpleNamespace(
            prompt_tokens=2000,
            completion_tokens=100,
            total_tokens=2100,
            prompt_tokens_details=SimpleNamespace(cached_tokens=1024, audio_tokens=None),
            completion_tokens_details=None,
        ),
        usage=Usage(input=2000, output=100, cache_read=1024),
        spent="0.0006528",
        saved="0.0003072",
        premium="0",
        worked="976*0.40 + 1024*0.10 + 100*1.60",
    ),
    "openai chat, flex": Payload(
        source="https://platform.openai.com/docs/guides/flex-processing",
        provider="openai",
        model="gpt-5.1",
        reported={
            "prompt_tokens": 2000,
            "completion_tokens": 100,
            "prompt_tokens_details": {"cached_tokens": 1024},
        },
        usage=Usage(input=2000, output=100, cache_read=1024),
        spent="0.001174",
        saved="0.000576",
        premium="0",
        worked="976*0.625 + 1024*0.0625 + 100*5",
        tier="flex",
    ),
    "openai chat, reasoning": Payload(
        source="https://platform.openai.com/docs/guides/reasoning",
        provider="openai",
        model="o3",
        reported={
            "prompt_tokens": 75,
            "completion_tokens": 1186,
            "total_tokens": 1261,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 1024},
        },
        usage=Usage(input=75, output=1186, cache_read=0, reasoning=1024),
        spent="0.009638",
        saved="0",
        premium="0",
        worked="75*2 + 1186*8; reasoning is part of the completion",
    ),
    "openai responses": Payload(
        source="https://platform.openai.com/docs/api-reference/responses/object",
        provider="openai",
        model="gpt-4.1-2025-04-14",
        reported=ResponseUsage.model_validate(
            {
                "input_tokens": 3072,
                "input_tokens_details": {"cached_tokens": 2048, "cache_write_tokens": 0},
                "output_tokens": 87,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 3159,
            }
        ),
        usage=Usage(input=3072, output=87, cache_read=2048, cache_write=0, reasoning=0),
        spent="0.003768",
        saved="0.003072",
        premium="0",
        worked="1024*2 + 2048*0.50 + 87*8",
    ),
    "openai responses, writes are charged for": Payload(
        source=_CHAT,
        provider="openai",
        model="gpt-5.6",
        reported={
            "input_tokens": 5000,
            "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 4000},
            "output_tokens": 200,
            "output_tokens_details": {"reasoning_tokens": 150},
        },
        usage=Usage(input=5000, output=200, cache_read=1000, cache_write=4000, reasoning=150),
        spent="0.0244",
        saved="0.0036",
        premium="0.004",
        worked="1000*0.40 + 4000*5 + 200*20",
    ),
    "azure": Payload(
        source="https://learn.microsoft.com/azure/ai-services/openai/how-to/prompt-caching",
        provider="azure.ai.openai",
        model="gpt-4o-2024-11-20",
        reported={
            "prompt_tokens": 1566,
            "completion_tokens": 1518,
            "total_tokens": 3084,
            "prompt_tokens_details": {"audio_tokens": None, "cached_tokens": 1408},
            "completion_tokens_details": {"reasoning_tokens": 576},
        },
        usage=Usage(input=1566, output=1518, cache_read=1408, reasoning=576),
        spent="0.017335",
        saved="0.00176",
        premium="0",
        worked="158*2.50 + 1408*1.25 + 1518*10",
    ),
    "anthropic, written and read": Payload(
        source=_ANTHROPIC,
        provider="anthropic",
        model="claude-sonnet-4-5-20250929",
        reported=AnthropicUsage.model_validate(
            {
                "input_tokens": 2048,
                "cache_read_input_tokens": 1800,
                "cache_creation_input_tokens": 248,
                "output_tokens": 503,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 148,
                    "ephemeral_1h_input_tokens": 100,
                },
            }
        ),
        usage=Usage(input=4096, output=503, cache_read=1800, cache_write=248, cache_write_1h=100),
        spent="0.015384",
        saved="0.00486",
        premium="0.000411",
        worked="2048*3 + 1800*0.30 + 148*3.75 + 100*6 + 503*15",
    ),
    "anthropic, as rebuilt on a hit": Payload(
        source=_ANTHROPIC,
        provider="anthropic",
        model="claude-haiku-4-5",
        reported=SimpleNamespace(
            input_tokens=21,
            output_tokens=393,
            cache_creation_input_tokens=188086,
            cache_read_input_tokens=0,
            cache_creation=None,
            service_tier="standard",
        ),
        usage=Usage(input=188107, output=393, cache_read=0, cache_write=188086),
        spent="0.2370935",
        saved="0",
        premium="0.0470215",
        worked="21*1 + 188086*1.25 + 393*5",
    ),
    "anthropic, without a cache": Payload(
        source="https://docs.anthropic.com/en/api/messages",
        provider="anthropic",
        model="claude-opus-4-1",
        reported={
            "input_tokens": 10,
            "output_tokens": 25,
            "cache_creation_input_tokens": None,
            "cache_read_input_tokens": None,
        },
        usage=Usage(input=10, output=25),
        spent="0.002025",
        saved="0",
        premium="0",
        worked="10*15 + 25*75",
    ),
    "anthropic, the longer context's rates": Payload(
        source="https://docs.anthropic.com/en/docs/about-claude/pricing",
        provider="anthropic",
        model="claude-sonnet-4-5",
        reported={
            "input_tokens": 1000,
            "output_tokens": 100,
            "cache_read_input_tokens": 250000,
            "cache_creation_input_tokens": 0,
        },
        usage=Usage(input=251000, output=100, cache_read=250000, cache_write=0),
        spent="0.15825",
        saved="1.35",
        premium="0",
        worked="1000*6 + 250000*0.60 + 100*22.50: past 200,000 tokens of input",
    ),
    "bedrock": Payload(
        source=_CONVERSE,
        provider="aws.bedrock",
        model="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        reported={
            "inputTokens": 15,
            "outputTokens": 8,
            "totalTokens": 1997,
            "cacheReadInputTokens": 974,
            "cacheWriteInputTokens": 1000,
            "cacheDetails": [
                {"ttl": "5m", "inputTokens": 600},
                {"ttl": "1h", "inputTokens": 400},
            ],
        },
        usage=Usage(input=1989, output=8, cache_read=974, cache_write=1000, cache_write_1h=400),
        spent="0.00561792",
        saved="0.00289278",
        premium="0.001815",
        worked="15*3.30 + 974*0.33 + 600*4.125 + 400*6.60 + 8*16.50",
    ),
    "bedrock, nova": Payload(
        source=_CONVERSE,
        provider="aws.bedrock",
        model="amazon.nova-pro-v1:0",
        reported={
            "inputTokens": 100,
            "outputTokens": 50,
            "totalTokens": 1350,
            "cacheReadInputTokens": 1200,
            "cacheWriteInputTokens": 0,
        },
        usage=Usage(input=1300, output=50, cache_read=1200, cache_write=0),
        spent="0.00048",
        saved="0.00072",
        premium="0",
        worked="100*0.80 + 1200*0.20 + 50*3.20",
    ),
    "gemini": Payload(
        source=_GEMINI,
        provider="gcp.gemini",
        model="gemini-2.5-flash",
        reported=GenerateContentResponseUsageMetadata(
            prompt_token_count=4210,
            candidates_token_count=120,
            thoughts_token_count=80,
            cached_content_token_count=4000,
            total_token_count=4410,
        ),
        usage=Usage(input=4210, output=200, cache_read=4000, reasoning=80),
        spent="0.000683",
        saved="0.00108",
        premium="0",
        worked="210*0.30 + 4000*0.03 + 200*2.50; thoughts are paid for as output",
    ),
    "gemini, as rebuilt on a hit": Payload(
        source=_GEMINI,
        provider="gcp.vertex_ai",
        model="gemini-2.5-pro",
        reported={
            "promptTokenCount": 5000,
            "toolUsePromptTokenCount": 20,
            "candidatesTokenCount": 10,
            "totalTokenCount": 5030,
        },
        usage=Usage(input=5020, output=10),
        spent="0.006375",
        saved="0",
        premium="0",
        worked="5020*1.25 + 10*10",
    ),
    "gemini, sound": Payload(
        source=_GEMINI,
        provider="gcp.gemini",
        model="gemini-2.5-flash",
        reported={
            "prompt_token_count": 1000,
            "prompt_tokens_details": [
                {"modality": "TEXT", "token_count": 400},
                {"modality": "AUDIO", "token_count": 600},
            ],
            "candidates_token_count": 10,
        },
        usage=Usage(input=1000, output=10, input_audio=600),
        spent="0.000745",
        saved="0",
        premium="0",
        worked="400*0.30 + 600*1 + 10*2.50",
    ),
    "deepseek": Payload(
        source="https://api-docs.deepseek.com/guides/kv_cache",
        provider="deepseek",
        model="deepseek-chat",
        reported={
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "total_tokens": 1100,
            "prompt_cache_hit_tokens": 640,
            "prompt_cache_miss_tokens": 360,
        },
        usage=Usage(input=1000, output=100, cache_read=640),
        spent="0.000252",
        saved="0.000128",
        premium="0",
        worked="360*0.27 + 640*0.07 + 100*1.10, at that time of the day",
    ),
    "groq": Payload(
        source="https://console.groq.com/docs/prompt-caching",
        provider="groq",
        model="openai/gpt-oss-20b",
        reported={
            "queue_time": 0.026,
            "prompt_tokens": 4641,
            "prompt_time": 0.009,
            "completion_tokens": 1817,
            "total_tokens": 6458,
            "prompt_tokens_details": {"cached_tokens": 4608},
        },
        usage=Usage(input=4641, output=1817, cache_read=4608),
        spent="0.000720375",
        saved="0.0001728",
        premium="0",
        worked="33*0.075 + 4608*0.0375 + 1817*0.30",
    ),
    "xai": Payload(
        source="https://docs.x.ai/docs/guides/reasoning",
        provider="x_ai",
        model="grok-3-mini",
        reported={
            "prompt_tokens": 37,
            "completion_tokens": 530,
            "total_tokens": 800,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 233},
        },
        usage=Usage(input=37, output=763, cache_read=8, reasoning=233),
        spent="0.0003908",
        saved="0.0000018",
        premium="0",
        worked="29*0.30 + 8*0.075 + 763*0.50; reasoning is not part of the completion",
    ),
    "mistral": Payload(
        source="https://docs.mistral.ai/api/",
        provider="mistral_ai",
        model="mistral-large-latest",
        reported={
            "prompt_tokens": 1000,
            "completion_tokens": 50,
            "total_tokens": 1050,
            "cached_tokens": 512,
        },
        usage=Usage(input=1000, output=50, cache_read=512),
        spent="0.0023",
        saved="0",
        premium="0",
        worked="1000*2 + 50*6; the table has no rate of its own for what was cached",
    ),
    "openrouter": Payload(
        source="https://openrouter.ai/docs/use-cases/usage-accounting",
        provider="openrouter",
        model="anthropic/claude-sonnet-4.5",
        reported={
            "prompt_tokens": 3000,
            "completion_tokens": 40,
            "total_tokens": 3040,
            "cost": 0.95,
            "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 1500},
        },
        usage=Usage(input=3000, output=40, cache_read=1000, cache_write=1500),
        spent="0.008025",
        saved="0.0027",
        premium="0.001125",
        worked="500*3 + 1000*0.30 + 1500*3.75 + 40*15",
    ),
    "litellm": Payload(
        source="https://docs.litellm.ai/docs/completion/prompt_caching",
        provider="litellm",
        model="anthropic/claude-sonnet-4-5",
        reported={
            "prompt_tokens": 4096,
            "completion_tokens": 503,
            "total_tokens": 4599,
            "cache_creation_input_tokens": 248,
            "cache_read_input_tokens": 1800,
            "prompt_tokens_details": {"cached_tokens": 1800, "cache_creation_tokens": 248},
        },
        usage=Usage(input=4096, output=503, cache_read=1800, cache_write=248),
        spent="0.015159",
        saved="0.00486",
        premium="0.000186",
        worked="2048*3 + 1800*0.30 + 248*3.75 + 503*15",
    ),
}
