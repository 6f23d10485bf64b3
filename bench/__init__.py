"""What watching a cached call costs, beside not watching it and beside peers that watch it too.

`bench.race` measures ten contenders, each in processes of its own so that nothing that one of them
patches reaches another: bare Instructor (against itself: its distance from 1 is the error of
the measurement), the same client handed to `llm_cache_otel.instrument`, sampled and not, two floors
(`bench.floor`, and with it `bench.wrappers`, sampled and not), and the same client under
`openinference-instrumentation-instructor`, and under OpenLLMetry's instrumentation of OpenAI's SDK,
OpenTelemetry's own and cachelens, which see no hits.

In each process a bare client and the contender's take turns, call by call and in random order, and what
counts is the median of the ratios of such pairs. Of bare Instructor against itself that comes to 1 within
half a percent, on machines where a call takes half as long again from one moment to the next, and where
processes that do the same differ by a tenth for as long as they live. A bare call passes what the contender
has put into Instructor's functions, which takes no notice of it. Absolute times are for information.

Two numbers are taken of each round:

- wall: what the caller of `create` waited, per call. What is done in batches, by llm-cache-otel's own
  thread, falls into few calls, of either client, and so is not in it. In a program that never pauses it
  is: there (`loop`) blocks of calls take turns, which last until all that they noted has been encoded.
- CPU: what the thread that calls consumed, by pairs as well; and what all others did, exporting included: a
  round is over when all its spans, and the metrics once, have been encoded as OTLP protobuf. By default a
  program collects its metrics once a minute, not every few seconds, so this is a little dearer than life.

The provider answers from within the process and at once. A miss is therefore measured against
Instructor and the SDK alone; against a real provider the same cost is a tiny part of the call.

`bench.scale`, `bench.imports` and `bench.memory` tell of themselves. What they measure is kept in
`docs/cost/cost.json` (`bench.result`), and all that is shown is worked out of it: `bench.figures`,
`bench.tables`, `bench.documents`, `bench.pictures`, `bench.terminal`.
"""
