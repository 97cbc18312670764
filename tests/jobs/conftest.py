from tests.jobs.kit import app

__all__ = ["app"]
