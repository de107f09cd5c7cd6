"""The yardstick's only view. It uses the table of Django's sessions; any table would do."""

from typing import Any

from django.contrib.sessions.models import Session
from django.db import transaction
from django.urls import path
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

ROWS = 1000


class Row(APIView):
    """A resource whose PUT makes four reads and four writes."""

    @transaction.atomic(savepoint=False)
    def put(self, request: Request, number: int) -> Response:
        """Read three rows, run a count, and then change four rows."""
        data = str(request.data)
        keys = [f"row-{(number + step) % ROWS}" for step in range(4)]
        rows: list[Any] = [Session.objects.get(session_key=key) for key in keys[:3]]
        Session.objects.filter(session_key__in=keys).count()
        for row in rows:
            Session.objects.filter(session_key=row.session_key).update(session_data=data)
        Session.objects.filter(session_key=keys[3]).update(expire_date=timezone.now())
        return Response(status=204)


def fill() -> None:
    """Write the rows that the view reads."""
    Session.objects.bulk_create(
        Session(session_key=f"row-{number}", session_data="", expire_date=timezone.now()) for number in range(ROWS)
    )


urlpatterns = [path("rows/<int:number>", Row.as_view())]
