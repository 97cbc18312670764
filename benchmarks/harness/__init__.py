"""Measures job queues side by side: the same jobs, the same machine, the same moment, each with its own worker."""
