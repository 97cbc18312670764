"""Tests of ``zerog.web``."""
