"""Jobs that failed: found, edited, let run again, removed; what a document may hold, and what of it is secret."""
