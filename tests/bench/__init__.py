"""Benchmarks: each prints ratios against a reference measured in the same run; none fails a build by a timing."""
