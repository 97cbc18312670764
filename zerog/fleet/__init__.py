"""Workers as seen from other processes."""
