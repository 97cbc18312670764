#!/usr/bin/env python3
"""A benchmark of job queues; see ``bench.py --help`` and README.md."""

from harness.command import main

if __name__ == "__main__":
    main()
