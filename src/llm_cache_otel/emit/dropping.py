"""Which spans a sampler is certain to drop, whatever they say: none of these need be made.

A parent-based sampler asks another of its delegates where the parent is of this process (`local`), and where
it is of another (`remote`): https://opentelemetry.io/docs/specs/otel/trace/sdk/#parentbased
"""

from __future__ import annotations

import sys
from typing import Any

from opentelemetry.trace import NoOpTracer, Span

from llm_cache_otel.emit.lazy import LazySpan

_SDK = "opentelemetry.sdk.trace"
_DELEGATES = ("_root", "_local_parent_not_sampled", "_remote_parent_not_sampled")


class Dropping:
    """Of one tracer: `some`, and `roots` if those that have no parent are of them.

    Of any but the SDK's tracers and samplers, nothing is certain.
    """

    some = roots = _all = _local = _remote = False

    def __init__(self, tracer: Any) -> None:
        self._tracer, self._sampler = tracer, None
        if type(tracer) is NoOpTracer:
            self.some = self.roots = self._all = True
            return
        sdk: Any = sys.modules.get(_SDK)
        if sdk is None or type(tracer) is not sdk.Tracer or "start_span" in vars(tracer):
            return
        self._sampler = sampler = tracer.sampler
        off = sdk.sampling.ALWAYS_OFF
        if sampler is off:
            self.roots = self._all = True
        elif _is_plain(sampler, sdk.sampling):
            self.roots, self._local, self._remote = (
                getattr(sampler, name, None) is off for name in _DELEGATES
            )
        self.some = self.roots or self._local or self._remote

    def drops(self, parent: Any) -> bool:
        """Whether it is certain for a child of a context's span, if it has one. Raises what that raises."""
        if self._sampler is not None and self._tracer.sampler is not self._sampler:
            return False  # somebody has given it another
        return self._all or self._drops_within(parent)

    def _drops_within(self, parent: Any) -> bool:
        if not isinstance(parent, Span):
            return self.roots
        # What is not begun yet has not been decided on either.
        if type(parent) is LazySpan or parent.is_recording():
            return False
        context = parent.get_span_context()
        if not context.is_valid:
            return self.roots
        return not context.trace_flags.sampled and (
            self._remote if context.is_remote else self._local
        )


def _is_plain(sampler: Any, sampling: Any) -> bool:
    """Whether it is parent-based as the SDK's are, and nobody has changed how it decides."""
    kinds = sampling.ParentBased, sampling.ParentBasedTraceIdRatio
    return type(sampler) in kinds and "should_sample" not in vars(sampler)
