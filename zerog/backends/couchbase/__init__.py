"""Couchbase clusters."""
