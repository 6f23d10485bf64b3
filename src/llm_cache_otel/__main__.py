"""`python -m llm_cache_otel` is `llm-cache-otel`."""

from llm_cache_otel.cli import main

if __name__ == "__main__":
    main()
