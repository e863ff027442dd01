"""Side-by-side programs, one comparison each: ``python -m benchmarks.NAME --help``."""
