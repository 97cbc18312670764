#!/usr/bin/env python3
"""A benchmark of job queues; ``bench.py --help`` and README.md tell more."""

from harness.command import main

if __name__ == "__main__":
    main()
