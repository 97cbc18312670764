"""Adapters that carry uuids."""
