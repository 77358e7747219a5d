"""Benchmarks: ratios of two commands taken in turn in one run; never part of make test."""
