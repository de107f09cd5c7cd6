"""Conferences and sessions in the admin. Everything is read-only, except that staff may end conferences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import display_for_field, label_for_field
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR, ChangeList
from django.db.models import Field, Model, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.utils.timesince import timesince

from conferences.machine import ConferenceState
from conferences.models import MOST_STARS, Conference, Knock, Modification, Participant, Stay
from conferences.operations.calls import terminate_conference
from events import clock
from events.models import Event, Session
from events.numbers import read_number
from events.states import SessionState
from media.models import QualitySample

if TYPE_CHECKING:
    ConferenceModelAdmin = admin.ModelAdmin[Conference]
    SessionModelAdmin = admin.ModelAdmin[Session]
else:
    # Django's admin classes are generic only in the type stubs.
    ConferenceModelAdmin = SessionModelAdmin = admin.ModelAdmin

# The most rows of each kind on a conference's page.
NEWEST = 100
# The most conferences that one request ends.
MAX_ENDED = 100
# The most words and characters of a search. They are bounded because the database reads all rows for each word.
_MOST_WORDS = 5
_LONGEST_SEARCH = 200
# The longest sort order, in characters: a few columns, each with a sign, one or two digits and a dot.
_LONGEST_ORDER = 64


class LiveFilter(admin.SimpleListFilter):
    """Shows only live rows by default."""

    title = "live or ended"
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[Any]") -> list[tuple[str, str]]:
        """Return the choices other than the default."""
        return [("ended", "Ended"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        """Yield the choices, with the default called "Live" instead of Django's "All"."""
        default, *others = super().choices(changelist)
        yield {**default, "display": "Live"}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that match the chosen filter."""
        if queryset.model is Session:
            live = Q(state=SessionState.ACTIVE)
        else:
            live = ~Q(state=ConferenceState.SESSION_TERMINATED)
        match self.value():
            case "all":
                return queryset
            case "ended":
                return queryset.exclude(live)
            case _:
                # With a search or a rating, but without a choice here, show live and ended rows.
                is_searched = request.GET.get("q") or request.GET.get(RatingFilter.parameter_name)
                return queryset if is_searched else queryset.filter(live)


class RatingFilter(admin.SimpleListFilter):
    """Shows conferences that at least one participant has rated in this way."""

    title = "rating"
    parameter_name = "rating"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[Any]") -> list[tuple[str, str]]:
        """Return the choices other than the default."""
        stars = [(str(number), f"{number} star{'s' * (number > 1)}") for number in range(1, MOST_STARS + 1)]
        return [("any", "Any rating"), ("comment", "With a comment"), *stars]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the conferences that match the chosen filter."""
        conditions = {"any": Q(), "comment": ~Q(comment="")}
        conditions |= {str(number): Q(stars=number) for number in range(1, MOST_STARS + 1)}
        condition = conditions.get(self.value() or "")
        if condition is None:
            return queryset
        rated = Participant.objects.filter(condition, stars__isnull=False).order_by()
        return queryset.filter(pk__in=rated.values("conference"))


class CheckedChangeList(ChangeList):
    """A list that refuses some query parameters that Django allows: those that would make the database slow or fail."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        """Return the rows that match the query parameters.

        :raises IncorrectLookupParameters: when a parameter is not valid. Django then shows an error page.
        """
        try:
            for name, values in (*request.GET.lists(), *request.POST.lists()):
                for value in values:
                    _require_valid(name, str(value))
        except ValueError as error:
            raise IncorrectLookupParameters(error) from None
        return super().get_queryset(request, exclude_parameters)


def _require_valid(name: str, value: str) -> None:
    """Require that a query parameter contains no NUL and is not too long, and that a year, month or day is in range.

    :raises ValueError: when the parameter is not valid.
    """
    if "\0" in name + value:
        raise ValueError("A query parameter contains a NUL character.")
    if name == SEARCH_VAR and (len(value) > _LONGEST_SEARCH or len(value.split()) > _MOST_WORDS):
        raise ValueError(f"Search for at most {_MOST_WORDS} words and {_LONGEST_SEARCH} characters.")
    if name == ORDER_VAR and len(value) > _LONGEST_ORDER:
        raise ValueError("The sort order is too long.")
    if name.rpartition("__")[2] in {"year", "month", "day"}:
        read_number(value, least=1, most=MAXYEAR - 1)


class ReadOnly:
    """Makes an admin read-only, because only operations change conferences.

    To show a list, the database reads an index, or scans the table at most once.
    """

    # Each of these two features would count all rows. Facets would also count the rows of each filter choice.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow only the page's filters.

        With other lookups, a user could guess secrets, or make the database run a regular expression for minutes.
        """
        named = [each for each in self.list_filter if isinstance(each, str)]  # type: ignore[attr-defined]
        choices = {f"{name}{kind}" for name in named for kind in ("", "__exact", "__isnull")}
        dates = {f"{self.date_hierarchy}__{part}" for part in ("year", "month", "day")}  # type: ignore[attr-defined]
        return lookup in {LiveFilter.parameter_name, RatingFilter.parameter_name, *choices, *dates}

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse to add rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse to change rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse to delete rows."""
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the class of the list, which refuses hostile queries."""
        return CheckedChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row with this ID, or None. No ID contains a NUL, and PostgreSQL refuses parameters with a NUL."""
        return None if "\0" in object_id else super().get_object(request, object_id, from_field)  # type: ignore[misc]


@dataclass(frozen=True)
class Section:
    """A table of the newest rows of one kind on a conference's page.

    The table is bounded, because a long conference has more rows than a page can hold. Django's inlines would build a
    form for each row, which takes a second for a few hundred rows. `fields` maps names of fields to headings. If a
    heading is None, the field's own name is the heading. Only rows that fulfil `condition` are shown.
    """

    title: str
    model: type[Model]
    fields: Mapping[str, str | None]
    ordering: Sequence[str]
    related: Sequence[str] = ()
    # A column with the ID of a participant. The participant's name is shown instead.
    participant: str = ""
    condition: Q = field(default_factory=Q)

    def table(self, conference_id: str) -> dict[str, object]:
        """Return the title, the columns (name and heading) and the rows (name and value) for a conference."""
        columns = [(name, heading or label_for_field(name, self.model)) for name, heading in self.fields.items()]
        own = self.model._default_manager.filter(self.condition, conference_id=conference_id)
        rows = list(own.order_by(*self.ordering).select_related(*self.related)[:NEWEST])
        ids = {getattr(row, self.participant) for row in rows} if self.participant else set()
        names = {row.pk: str(row) for row in Participant.objects.filter(pk__in=ids)} if ids else {}
        return {
            "title": f"{self.title} (the newest {NEWEST})",
            "columns": columns,
            "rows": [[(name, self._shown(row, name, names)) for name in self.fields] for row in rows],
        }

    def _shown(self, row: Model, name: str, names: Mapping[str, str]) -> object:
        """Return the value of a field as the admin displays it. `names` are those of the rows' participants."""
        value = getattr(row, name)
        if name == self.participant:
            return names.get(value, value)
        if isinstance(value, Model):
            return str(value)
        return display_for_field(value, cast("Field[Any, Any]", self.model._meta.get_field(name)), "-")

    def may_be_seen_by(self, request: HttpRequest) -> bool:
        """Tell whether the user may view rows of this kind."""
        return request.user.has_perm(f"{self.model._meta.app_label}.view_{self.model._meta.model_name}")


def _columns(*names: str, **headings: str) -> dict[str, str | None]:
    """Return `Section.fields`: first the fields with their own names as headings, then the fields in `headings`."""
    return {**dict.fromkeys(names), **headings}


# Modifications and events are shown without their SDPs, because an SDP contains keys.
SECTIONS = (
    Section(
        "participants",
        Participant,
        _columns(
            *("role", "username", "vtn", "icmn", "state", "session"),
            *("joined_at", "rings_until", "move_until", "left_reason", "left_at"),
        ),
        # First show the participants that snapshots list.
        ordering=("-listed", "-position"),
        related=("session",),
    ),
    Section(
        "ratings",
        Participant,
        _columns("username", "session", "stars", "comment", "left_reason"),
        ordering=("-position",),
        related=("session",),
        condition=Q(stars__isnull=False),
    ),
    Section(
        "earlier stays",
        Stay,
        _columns("participant", "session", "joined_at", "left_at", "left_reason"),
        ordering=("-left_at",),
        related=("participant", "session"),
    ),
    Section(
        "knocks",
        Knock,
        _columns("created_at", "username", "session", "state", "settled_at"),
        ordering=("-created_at",),
        related=("session",),
    ),
    Section(
        "modifications",
        Modification,
        _columns("created_at", "kind", "state", "offered_by", "offered_to", "settled_by", "settled_at", id="modId"),
        ordering=("-created_at",),
        related=("offered_by", "offered_to", "settled_by"),
    ),
    Section(
        "quality",
        QualitySample,
        _columns(
            *("at", "participant_id", "direction", "source", "score", "bitrate", "loss", "round_trip_ms", "jitter_ms"),
            *("queue_ms", "silence_ms", "videos", "paused", "layers", "frame_rate", "frozen_ms", "concealed", "device"),
        ),
        ordering=("-id",),
        participant="participant_id",
    ),
    Section("events", Event, _columns("at", "session", "seq", "type"), ordering=("-id",), related=("session",)),
)


@admin.register(Conference)
class ConferenceAdmin(ReadOnly, ConferenceModelAdmin):
    """The list and the pages of conferences. By default, the list shows live conferences."""

    list_display = ["title", "state", "participant_states", "created_at", "duration", "pending_offers"]
    list_filter = [LiveFilter, "state", "topology", RatingFilter]
    # Django shows the search field only if this is set. `get_search_results` does the search.
    search_fields = ["id", "name"]
    search_help_text = "A whole username, number (VTN or ICMN) or modId, the beginning of a confId, or part of a name."
    ordering = ["-created_at"]
    date_hierarchy = "created_at"
    fields = [
        "id",
        "name",
        "state",
        "topology",
        "access",
        "locked",
        "created_at",
        "ended_at",
        "ended_reason",
        "version",
    ]
    actions = ["end_conference"]
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conference]:
        """Return conferences, with their listed participants and pending modifications prefetched."""
        listed = Prefetch("participants", Participant.objects.listed())
        pending = Prefetch("modifications", Modification.objects.pending().only("conference"), to_attr="pending")
        return super().get_queryset(request).prefetch_related(listed, pending)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conference], search_term: str
    ) -> tuple[QuerySet[Conference], bool]:
        """Return the conferences that match every word of the search.

        A word matches a user only if it is the whole username or number. Only such a search can use an index, and there
        may be millions of participants.
        """
        for word in search_term.split():
            user = Q(username=word) | Q(vtn=word) | Q(icmn=word)
            participants = Participant.objects.filter(user).order_by().values("conference")
            offers = Modification.objects.filter(pk=word).order_by().values("conference")
            own = Q(pk__startswith=word) | Q(name__icontains=word)
            queryset = queryset.filter(own | Q(pk__in=participants) | Q(pk__in=offers))
        return queryset, False

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may end conferences, which requires the permission to change them."""
        return request.user.has_perm("conferences.change_conference")

    @admin.display(description="conference", ordering="name")
    def title(self, row: Conference) -> str:
        """The name of the conference, or the beginning of its ID if it has no name."""
        return row.name or row.pk[:8]

    @admin.display(description="participants")
    def participant_states(self, row: Conference) -> str:
        """The listed participants with their states, one on each line."""
        return format_html_join(
            mark_safe("<br>"),
            "{}",
            ((f"{participant} ({participant.state})",) for participant in row.participants.all()),
        )

    @admin.display(description="duration", ordering="created_at")
    def duration(self, row: Conference) -> str:
        """The time from the start of the conference to its end, or until now."""
        return timesince(row.created_at, row.ended_at or clock.now())

    @admin.display(description="pending offers")
    def pending_offers(self, row: Any) -> int:
        """The number of pending modifications."""
        return len(row.pending)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the conference and its tables, and a button to end it if the user may do so."""
        seen = [section for section in SECTIONS if section.may_be_seen_by(request) and "\0" not in object_id]
        tables = [section.table(object_id) for section in seen]
        context = {**(extra_context or {}), "may_end": self.has_end_permission(request), "tables": tables}
        return super().change_view(request, object_id, form_url, context)

    @admin.action(description="End the selected conferences", permissions=["end"])
    def end_conference(self, request: HttpRequest, queryset: QuerySet[Conference]) -> HttpResponse | None:
        """Ask for confirmation, then end the selected conferences for everyone in them."""
        chosen = list(queryset[: MAX_ENDED + 1])
        if len(chosen) > MAX_ENDED:
            self.message_user(request, f"Select at most {MAX_ENDED} conferences.", messages.WARNING)
            return None
        if chosen and "confirmed" not in request.POST:
            context = {"title": "End conferences", "opts": self.opts, "conferences": chosen}
            context = {**self.admin_site.each_context(request), **context}
            return TemplateResponse(request, "admin/conferences/conference/end.html", context)
        ended = sum(terminate_conference(conference_id=row.pk, now=clock.now()) for row in chosen)
        self.message_user(request, f"{ended} ended.", messages.SUCCESS if ended else messages.WARNING)
        return None


@admin.register(Session)
class SessionAdmin(ReadOnly, SessionModelAdmin):
    """The list and the pages of sessions. By default, the list shows live sessions. Token hashes are not shown."""

    list_display = ["username", "device", "vtn", "icmn", "state", "created_at", "expires_at", "last_seq"]
    list_filter = [LiveFilter]
    search_fields = ["id__startswith", "username", "vtn", "icmn", "device"]
    search_help_text = "Part of a username, number (VTN or ICMN) or device, or the beginning of a session ID."
    fields = ["id", "username", "device", "vtn", "icmn", "state", "created_at", "expires_at", "ended_at", "last_seq"]
    ordering = ["-created_at"]
    list_per_page = 50
