"""``zerog rehearse``."""
