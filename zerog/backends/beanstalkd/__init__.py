"""Queues on a beanstalkd server: tubes of uuids."""
