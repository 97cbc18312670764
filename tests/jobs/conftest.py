from tests.jobs.builders import app

__all__ = ["app"]
