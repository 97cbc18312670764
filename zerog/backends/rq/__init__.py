"""RQ queues."""
