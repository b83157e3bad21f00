"""Settings in, configuration of other engines out: one module per engine, texts only."""
