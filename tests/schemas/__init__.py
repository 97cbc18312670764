"""Schemas as data, and what their comparison finds."""
