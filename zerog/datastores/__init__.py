"""Adapters that keep documents."""
