"""What watching a cached call costs, beside not watching it and beside peers that watch it too.

`bench.race` measures ten contenders, each in a process of its own so that nothing that one of them
patches reaches another: bare Instructor, bare Instructor once more (its distance from 1 is the error of
the measurement), the same client handed to `llm_cache_otel.instrument`, sampled and not, the floor
(`bench.floor`), and the same client under `openinference-instrumentation-instructor`, and under
OpenLLMetry's instrumentation of OpenAI's SDK, OpenTelemetry's own and cachelens, which see no hits.
The processes take turns, one round each and in shuffled order, so that a slow minute of the machine is
slow for all of them; and they are started anew several times, because two processes that do the same
differ by a percent or two for as long as they live. What counts is the ratio to bare Instructor's round
of the same turn: its median over all turns, and the quartiles. Absolute times are for information.

Two numbers are taken of each round:

- wall: what the caller of `create` waited, per call. A round records fewer spans than make the
  batch span processor export by itself, and is mostly over before llm-cache-otel's own thread begins, so
  what is done in batches is rarely in it. In a program that does nothing but hit, it is.
- CPU: what the whole process consumed, per call, exporting included: a round is over when all its
  spans, and the metrics once, have been encoded as OTLP protobuf. By default a program collects
  its metrics once a minute, not after half a second, so this is a little dearer than life.

The provider answers from within the process and at once. A miss is therefore measured against
Instructor and the SDK alone; against a real provider the same cost is a tiny part of the call.

`bench.scale`, `bench.imports` and `bench.memory` tell of themselves. What they measure is kept in
`docs/cost/cost.json` (`bench.result`), and all that is shown is worked out of it: `bench.figures`,
`bench.tables`, `bench.documents`, `bench.pictures`, `bench.terminal`.
"""
