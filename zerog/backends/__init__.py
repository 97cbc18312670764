"""Datastores, queues and engines, one package a backend."""
