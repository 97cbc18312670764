"""Job objects."""
