"""Datastores, queues and engines, one package for each backend."""
