"""ZeroG behind Django in one file: ``python django_app.py runserver``, or ``gunicorn --threads 8 django_app``."""

import json
from pathlib import Path

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path, reverse
from django.utils.deprecation import MiddlewareMixin
from django.views import View
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST
from django.views.static import serve
from marshmallow import ValidationError

import zerog

from jobs import HEADERS, HOSTS, LONGEST_BODY, ImportRows, answer_to, public_info, public_progress
from jobs import app as jobs

STATIC = Path(__file__).parent / "static"

settings.configure(
    ALLOWED_HOSTS=HOSTS,
    DATA_UPLOAD_MAX_MEMORY_SIZE=LONGEST_BODY,
    MIDDLEWARE=[
        f"{__name__}.Answers",
        "django.middleware.common.CommonMiddleware",  # checks the host
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    ROOT_URLCONF=__name__,
)


class Answers(MiddlewareMixin):
    def process_response(self, _request, response):
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response

    def process_exception(self, _request, error):
        if isinstance(error, (zerog.ZerogError, ValidationError)):
            status, body = answer_to(error)
            return JsonResponse(body, status=status)
        return None


@require_POST
def submit(request):
    try:
        params = json.loads(request.body)
    except (ValueError, RecursionError):
        return JsonResponse({"error": "The body is no JSON, or is nested too deeply."}, status=400)
    job = jobs.submit(ImportRows, params)
    return JsonResponse({"uuid": job.uuid}, status=202, headers={"Location": reverse("job", args=[job.uuid])})


class Job(View):
    def get(self, _request, uuid):
        return JsonResponse(public_progress(uuid))

    def delete(self, _request, uuid):
        return JsonResponse({"status": jobs.cancel(uuid)}, status=202)


def info(_request, uuid):
    return JsonResponse(public_info(uuid))


def result(_request, uuid):
    return JsonResponse({"result": jobs.get_job(uuid).get_data()})


urlpatterns = [
    path("", ensure_csrf_cookie(serve), {"path": "page.html", "document_root": STATIC}),
    path("static/<path:path>", serve, {"document_root": STATIC}),
    path("jobs", submit),
    path("jobs/<uuid>", Job.as_view(), name="job"),
    path("jobs/<uuid>/info", info),
    path("jobs/<uuid>/result", result),
]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line()
