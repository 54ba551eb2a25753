"""Speed, as ratios within one run: `make bench`. Never part of the tests, which no timing decides."""
