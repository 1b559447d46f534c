"""Benchmarks and maintenance, run from a checkout: ``python scripts/NAME.py``."""
