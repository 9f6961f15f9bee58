"""What the benchmarks share: results, timing, estimators, data sets, backbones."""
