"""Tools for all parts, independent of jobs."""
