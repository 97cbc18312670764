"""What all parts use and that knows nothing of jobs."""
