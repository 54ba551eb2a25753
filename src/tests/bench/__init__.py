"""Benchmarks: `make bench`. Figures are ratios within one run. No test depends on them."""
