"""Repairs, removal of ended jobs, and diagnosis."""
