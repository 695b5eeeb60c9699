"""Side by side with others, in one process: `python -m benchmarks federation|aggregation|panel|all`."""
