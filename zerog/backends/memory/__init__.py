"""This process's memory."""
