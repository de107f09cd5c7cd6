"""A user's history no longer slows requests: partial indexes whose conditions SQLite can match."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Case, DateTimeField, OuterRef, Q, Subquery, When
from django.db.models.functions import Coalesce

_PRESENT = Q(left_at__isnull=True)
_LIVE = Q(listed=True, conference_ended=False)


def correct_rows(apps, schema_editor):
    """Mark the participants of live conferences, and make `left_at` agree with the state.

    This updates each row at most once. After a second update, PostgreSQL would refuse to alter the table.
    """
    conferences = apps.get_model("conferences", "Conference").objects.order_by()
    is_live = Q(conference__in=conferences.filter(ended_at__isnull=True).values("pk"))
    has_left, has_time = Q(state="left"), Q(left_at__isnull=False)
    own = conferences.filter(pk=OuterRef("conference")).annotate(over=Coalesce("ended_at", "created_at"))
    left_at = Case(When(has_left, then=Coalesce("left_at", Subquery(own.values("over")))), output_field=DateTimeField())
    wrong = is_live | (has_left & ~has_time) | (~has_left & has_time)
    participants = apps.get_model("conferences", "Participant").objects.filter(wrong)
    participants.update(conference_ended=Case(When(is_live, then=False), default=True), left_at=left_at)


class Migration(migrations.Migration):
    dependencies = [
        ("conferences", "0014_help_texts"),
        ("events", "0003_help_texts"),
    ]

    operations = [
        *(
            migrations.RemoveIndex(model_name="participant", name=f"participant_{name}")
            for name in (
                *("username", "vtn", "icmn"),
                *("present_username", "present_vtn", "present_icmn"),
                "at_session",
            )
        ),
        # Most rows are of ended conferences. As the default, their value costs no update on PostgreSQL.
        migrations.AddField(
            model_name="participant",
            name="conference_ended",
            field=models.BooleanField(default=True, editable=False),
        ),
        migrations.RunPython(correct_rows, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="participant",
            name="conference_ended",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="Its conference has ended. Set only if snapshots show it.",
            ),
        ),
        migrations.AlterField(
            model_name="participant",
            name="session",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="participants",
                to="events.session",
            ),
        ),
        migrations.AddConstraint(
            model_name="participant",
            constraint=models.CheckConstraint(
                condition=Q(state="left", left_at__isnull=False) | (~Q(state="left") & Q(left_at__isnull=True)),
                name="participant_has_left_iff_left_at",
            ),
        ),
        *(
            migrations.AddIndex(
                model_name="participant",
                index=models.Index(fields=[field, "conference"], name=f"participant_{field}"),
            )
            for field in ("username", "vtn", "icmn", "session")
        ),
        *(
            migrations.AddIndex(
                model_name="participant",
                index=models.Index(fields=[field], condition=_PRESENT, name=name),
            )
            for field, name in (
                *((field, f"participant_present_{field}") for field in ("username", "vtn", "icmn")),
                ("session", "participant_at_session"),
            )
        ),
        *(
            migrations.AddIndex(
                model_name="participant",
                index=models.Index(fields=[field, "conference"], condition=_LIVE, name=f"participant_live_{field}"),
            )
            for field in ("username", "vtn", "icmn")
        ),
    ]
