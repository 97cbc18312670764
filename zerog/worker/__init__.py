"""Claiming, running and settling jobs."""
