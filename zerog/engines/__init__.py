"""Lifecycles for a datastore and a queue on one server."""
