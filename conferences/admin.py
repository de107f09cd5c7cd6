"""The support desk's view: live conferences first, everything read-only, and one thing to do: end a conference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from conferences.models import Conference, Modification, Participant, Stay
from conferences.operations.calls import terminate_conference
from events import clock
from events.models import Event, Session
from events.numbers import read_number
from events.states import SessionState

if TYPE_CHECKING:
    ConferenceModelAdmin = admin.ModelAdmin[Conference]
    SessionModelAdmin = admin.ModelAdmin[Session]
else:
    # Only the type checker knows Django's admin classes as generic ones.
    ConferenceModelAdmin = SessionModelAdmin = admin.ModelAdmin

# How many of the newest rows of each kind a conference's page shows.
NEWEST = 100
# How many conferences are ended at a time.
MOST_ENDED = 100
# What somebody may search for: each word costs the database a look at all rows.
_MOST_WORDS = 5
_LONGEST_SEARCH = 200
# A list is sorted by a few columns; each has a number of one or two digits, a sign and a dot.
_LONGEST_ORDER = 64


class LiveFilter(admin.SimpleListFilter):
    """Shows what is live unless asked for the rest."""

    title = "live or ended"
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: "admin.ModelAdmin[Any]") -> list[tuple[str, str]]:
        """Return the choices beside the default."""
        return [("ended", "Ended"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        """Name the default, which Django calls "All"."""
        default, *others = super().choices(changelist)
        yield {**default, "display": "Live"}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the choice."""
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
                # Whoever searches looks for one conference, live or not.
                return queryset if request.GET.get("q") else queryset.filter(live)


class SoundChangeList(ChangeList):
    """A list whose query the database can answer: Django lets through years that do not exist, and any length."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        """Return the rows that the query asks for.

        :raises IncorrectLookupParameters: when part of the query cannot be looked up; Django then shows an error page.
        """
        try:
            for name, values in (*request.GET.lists(), *request.POST.lists()):
                for value in values:
                    _require_sound(name, str(value))
        except ValueError as error:
            raise IncorrectLookupParameters(error) from None
        return super().get_queryset(request, exclude_parameters)


def _require_sound(name: str, value: str) -> None:
    """Require that a query parameter has no NUL, is short, and is a possible part of a date where it is one.

    :raises ValueError: when it is not.
    """
    if "\0" in name + value:
        raise ValueError("A query parameter has a NUL character.")
    if name == SEARCH_VAR and (len(value) > _LONGEST_SEARCH or len(value.split()) > _MOST_WORDS):
        raise ValueError(f"Search for at most {_MOST_WORDS} words and {_LONGEST_SEARCH} characters.")
    if name == ORDER_VAR and len(value) > _LONGEST_ORDER:
        raise ValueError("The list has fewer columns.")
    if name.rpartition("__")[2] in {"year", "month", "day"}:
        read_number(value, least=1, most=MAXYEAR - 1)


class ReadOnly:
    """Lets staff look, and nobody change: what changes a conference is an operation.

    Lists show what the database finds by an index, or in one look at all rows, however many there are.
    """

    # Both would count all rows, the second once for each choice.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow the filters of the page only. Others could compare secrets, or try a regular expression for minutes."""
        named = [each for each in self.list_filter if isinstance(each, str)]  # type: ignore[attr-defined]
        choices = {f"{name}{kind}" for name in named for kind in ("", "__exact", "__isnull")}
        dates = {f"{self.date_hierarchy}__{part}" for part in ("year", "month", "day")}  # type: ignore[attr-defined]
        return lookup in {LiveFilter.parameter_name, *choices, *dates}

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
        """Return the kind of list, which refuses hostile queries."""
        return SoundChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row with this ID; no ID has a NUL, which PostgreSQL would not even compare."""
        return None if "\0" in object_id else super().get_object(request, object_id, from_field)  # type: ignore[misc]


@dataclass(frozen=True)
class Section:
    """The newest rows of one kind on a conference's page: a long one has more than a page can hold.

    Django's inlines would build a form for each row, which takes a second for a few hundred. `fields` maps the names of
    the fields to headings, where these are not the fields' own.
    """

    title: str
    model: type[Model]
    fields: Mapping[str, str | None]
    ordering: Sequence[str]
    related: Sequence[str] = ()

    def table(self, conference_id: str) -> dict[str, object]:
        """Return the title, the columns (name and heading) and the rows of a conference."""
        columns = [(name, heading or label_for_field(name, self.model)) for name, heading in self.fields.items()]
        newest = self.model._default_manager.filter(conference_id=conference_id).order_by(*self.ordering)
        rows = newest.select_related(*self.related)[:NEWEST]
        return {
            "title": f"{self.title} (the newest {NEWEST})",
            "columns": columns,
            "rows": [[(name, self._shown(row, name)) for name in self.fields] for row in rows],
        }

    def _shown(self, row: Model, name: str) -> object:
        """Return a value as the admin shows it."""
        value = getattr(row, name)
        if isinstance(value, Model):
            return str(value)
        return display_for_field(value, cast("Field[Any, Any]", self.model._meta.get_field(name)), "-")

    def may_be_seen_by(self, request: HttpRequest) -> bool:
        """Tell whether someone may look at rows of this kind."""
        return request.user.has_perm(f"{self.model._meta.app_label}.view_{self.model._meta.model_name}")


def _named(*names: str, **headings: str) -> dict[str, str | None]:
    """Return fields with their own headings, then those with others."""
    return {**dict.fromkeys(names), **headings}


# The SDP of modifications and events has keys in it: it is not shown.
SECTIONS = (
    Section(
        "participants",
        Participant,
        _named(
            *("role", "username", "vtn", "icmn", "state", "session"),
            *("joined_at", "rings_until", "move_until", "left_reason", "left_at"),
        ),
        # First everybody that snapshots show.
        ordering=("-listed", "-position"),
        related=("session",),
    ),
    Section(
        "earlier stays",
        Stay,
        _named("participant", "session", "joined_at", "left_at", "left_reason"),
        ordering=("-left_at",),
        related=("participant", "session"),
    ),
    Section(
        "modifications",
        Modification,
        _named("created_at", "kind", "state", "offered_by", "offered_to", "settled_by", "settled_at", id="modId"),
        ordering=("-created_at",),
        related=("offered_by", "offered_to", "settled_by"),
    ),
    Section("events", Event, _named("at", "session", "seq", "type"), ordering=("-id",), related=("session",)),
)


@admin.register(Conference)
class ConferenceAdmin(ReadOnly, ConferenceModelAdmin):
    """Conferences, the live ones first."""

    list_display = ["title", "state", "people", "created_at", "lasts", "waiting"]
    list_filter = [LiveFilter, "state", "topology"]
    # `get_search_results` says what is searched.
    search_fields = ["id", "name"]
    search_help_text = (
        "A whole username or number (VTN or ICMN), the start of a confId, a modId, or a part of the name."
    )
    ordering = ["-created_at"]
    date_hierarchy = "created_at"
    fields = ["id", "name", "state", "topology", "access", "created_at", "ended_at", "ended_reason", "version"]
    actions = ["end_conference"]
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conference]:
        """Return conferences with what the list shows of them."""
        listed = Prefetch("participants", Participant.objects.listed())
        pending = Prefetch("modifications", Modification.objects.pending().only("conference"), to_attr="pending")
        return super().get_queryset(request).prefetch_related(listed, pending)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conference], search_term: str
    ) -> tuple[QuerySet[Conference], bool]:
        """Return the conferences in which each word is found.

        Users are found by an index, so only by their whole names. There may be millions of participants.
        """
        for word in search_term.split():
            user = Q(username=word) | Q(vtn=word) | Q(icmn=word)
            participants = Participant.objects.filter(user).order_by().values("conference")
            offers = Modification.objects.filter(pk=word).order_by().values("conference")
            own = Q(pk__startswith=word) | Q(name__icontains=word)
            queryset = queryset.filter(own | Q(pk__in=participants) | Q(pk__in=offers))
        return queryset, False

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Tell whether someone may end conferences: those who may change them."""
        return request.user.has_perm("conferences.change_conference")

    @admin.display(description="conference", ordering="name")
    def title(self, row: Conference) -> str:
        """The name, or the beginning of the ID."""
        return row.name or row.pk[:8]

    @admin.display(description="people")
    def people(self, row: Conference) -> str:
        """Who takes part, and how: one a line."""
        return format_html_join(
            mark_safe("<br>"),
            "{}",
            ((f"{participant} ({participant.state})",) for participant in row.participants.all()),
        )

    @admin.display(description="lasts", ordering="created_at")
    def lasts(self, row: Conference) -> str:
        """How long it has lasted, or did."""
        return timesince(row.created_at, row.ended_at or clock.now())

    @admin.display(description="pending offers")
    def waiting(self, row: Any) -> int:
        """How many modifications are pending."""
        return len(row.pending)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the conference with its newest rows, and a button that ends it to staff who may."""
        seen = [section for section in SECTIONS if section.may_be_seen_by(request) and "\0" not in object_id]
        tables = [section.table(object_id) for section in seen]
        context = {**(extra_context or {}), "may_end": self.has_end_permission(request), "tables": tables}
        return super().change_view(request, object_id, form_url, context)

    @admin.action(description="End the selected conferences", permissions=["end"])
    def end_conference(self, request: HttpRequest, queryset: QuerySet[Conference]) -> HttpResponse | None:
        """End the selected conferences for everybody in them, once that is confirmed."""
        chosen = list(queryset[: MOST_ENDED + 1])
        if len(chosen) > MOST_ENDED:
            self.message_user(request, f"Select at most {MOST_ENDED} conferences.", messages.WARNING)
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
    """Registered endpoints, the live ones first. Tokens are stored hashed and not shown."""

    list_display = ["username", "device", "vtn", "icmn", "state", "created_at", "expires_at", "last_seq"]
    list_filter = [LiveFilter]
    search_fields = ["id__startswith", "username", "vtn", "icmn", "device"]
    search_help_text = "A username, a number (VTN or ICMN), a device or a session ID."
    fields = ["id", "username", "device", "vtn", "icmn", "state", "created_at", "expires_at", "ended_at", "last_seq"]
    ordering = ["-created_at"]
    list_per_page = 50
