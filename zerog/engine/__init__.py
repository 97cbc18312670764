"""The life of a job: which writes a transition takes, and in which order."""
