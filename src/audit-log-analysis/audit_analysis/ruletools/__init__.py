"""Tools for authors of rules: tests, backtests, regression tests of public rule sets, coverage."""
