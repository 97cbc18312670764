"""Executors: threads, an event loop, child processes."""
