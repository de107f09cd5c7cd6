"""The public OpenAPI description.

A process generates it once per format, because generating it takes longer than serving many other requests.
"""

import threading
from functools import cache as once
from typing import Any

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request

_generating = threading.Lock()


class DescriptionView(SpectacularAPIView):
    """`/api/schema`, without authentication."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the description in the format that the client accepts."""
        renderer = request.accepted_renderer
        return HttpResponse(
            rendered(renderer.media_type or ""),
            content_type=f"{renderer.media_type}; charset=utf-8",
            headers={"Content-Disposition": f'inline; filename="SBE Enabler.{renderer.format}"'},
        )


def rendered(media_type: str) -> str | bytes:
    """Return the description in one format. The lock is needed because the generator is not thread-safe."""
    with _generating:
        return generated(media_type)


@once
def generated(media_type: str) -> str | bytes:
    """Generate the description in one format. Later calls return the cached result."""
    (renderer,) = (each for each in DescriptionView.renderer_classes if each.media_type == media_type)
    schema = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return renderer().render(schema, renderer_context={})
