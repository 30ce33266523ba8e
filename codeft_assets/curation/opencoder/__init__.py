"""OpenCoder's rules for code (arXiv 2411.04905) as a preset: what is measured of a file, and bounds by language."""
