from tests.jobs.adapters import adapter_app
from tests.jobs.builders import app

__all__ = ["adapter_app", "app"]
