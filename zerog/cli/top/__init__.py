"""``zerog top``: what it reads, and how it draws that."""
