"""Take over the sessions from the application `conferences`. Tables and rows stay as they are.

Only the content type moves, so that staff keep their permissions and the admin its history.
"""

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Q

import events.models


def _relabel(apps: Apps, schema_editor: BaseDatabaseSchemaEditor, old: str, new: str) -> None:
    """Move the content type of sessions, unless there is none yet."""
    rows = apps.get_model("contenttypes", "ContentType").objects.using(schema_editor.connection.alias)
    if not rows.filter(app_label=new, model="session").exists():
        rows.filter(app_label=old, model="session").update(app_label=new)


def take_over(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Let the content type belong to this application."""
    _relabel(apps, schema_editor, "conferences", "events")


def give_back(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Let it belong to the application `conferences` again."""
    _relabel(apps, schema_editor, "events", "conferences")


class Migration(migrations.Migration):
    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
        ("conferences", "0012_scrubbed_modifications"),
        ("events", "0001_initial"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Session",
                    fields=[
                        (
                            "id",
                            models.CharField(
                                default=events.models.new_id,
                                editable=False,
                                max_length=32,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("token_hash", models.CharField(editable=False, max_length=64, unique=True)),
                        ("username", models.CharField(max_length=128)),
                        (
                            "vtn",
                            models.CharField(
                                blank=True,
                                help_text="Virtual telephone number, E.164.",
                                max_length=16,
                                verbose_name="VTN",
                            ),
                        ),
                        (
                            "icmn",
                            models.CharField(
                                blank=True, help_text="Mobile number, E.164.", max_length=16, verbose_name="ICMN"
                            ),
                        ),
                        ("device", models.CharField(blank=True, max_length=128)),
                        ("state", models.CharField(default="active", max_length=16)),
                        ("created_at", models.DateTimeField()),
                        ("expires_at", models.DateTimeField()),
                        ("ended_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "leaving_since",
                            models.DateTimeField(
                                blank=True,
                                editable=False,
                                help_text="When it ended, while it still has seats to give up.",
                                null=True,
                            ),
                        ),
                        (
                            "last_seq",
                            models.BigIntegerField(default=0, help_text="The number of its newest event."),
                        ),
                    ],
                    options={
                        "db_table": "conferences_session",
                        "ordering": ["-created_at"],
                        "indexes": [
                            models.Index(
                                condition=Q(ended_at__isnull=True), fields=["username"], name="session_live_username"
                            ),
                            models.Index(condition=Q(ended_at__isnull=True), fields=["vtn"], name="session_live_vtn"),
                            models.Index(condition=Q(ended_at__isnull=True), fields=["icmn"], name="session_live_icmn"),
                            models.Index(
                                condition=Q(ended_at__isnull=True), fields=["expires_at"], name="session_live_expiry"
                            ),
                            models.Index(
                                condition=Q(leaving_since__isnull=False),
                                fields=["leaving_since"],
                                name="session_leaving",
                            ),
                            models.Index(
                                condition=Q(ended_at__isnull=False), fields=["ended_at"], name="session_ended"
                            ),
                        ],
                        "constraints": [
                            models.CheckConstraint(
                                condition=Q(state__in=["active", "ended", "expired"]), name="session_state_is_known"
                            )
                        ],
                    },
                ),
                migrations.AlterField(
                    model_name="event",
                    name="session",
                    field=models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="events", to="events.session"
                    ),
                ),
                # The column and its index are those of the reference before. A conference is deleted after its events.
                migrations.RemoveField(model_name="event", name="conference"),
                migrations.AddField(
                    model_name="event",
                    name="conference_id",
                    field=models.CharField(db_index=True, help_text="What it tells of.", max_length=32),
                    preserve_default=False,
                ),
            ],
        ),
        migrations.RunPython(take_over, give_back),
    ]
