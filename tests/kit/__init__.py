"""What several tests use: tolerances, oracles, small agents and models, made-up runs and experiments, a stub hub."""
