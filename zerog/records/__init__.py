"""The formats of everything that is stored."""
