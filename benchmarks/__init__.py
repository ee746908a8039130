"""Figures as measured, on this machine: `python -m benchmarks`."""
