"""The contracts of datastores and queues."""
