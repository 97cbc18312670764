"""Schemas of job types as data: described, frozen in files, stored beside the jobs, and compared with each other."""
