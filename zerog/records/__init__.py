"""The formats of all stored documents."""
