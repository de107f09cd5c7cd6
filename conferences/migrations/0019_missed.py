"""Find the calls that a user has missed, newest first, without reading the user's history."""

from django.db import migrations, models

_UNANSWERED = models.Q(session__isnull=True, left_at__isnull=False, rang_at__isnull=False)


class Migration(migrations.Migration):
    dependencies = [
        ("conferences", "0018_away"),
        ("events", "0004_away"),
    ]

    operations = [
        migrations.AddField(
            model_name="participant",
            name="rang_at",
            field=models.DateTimeField(blank=True, help_text="When its invitation began to ring.", null=True),
        ),
        *(
            migrations.AddIndex(
                model_name="participant",
                index=models.Index(
                    fields=[field, "left_at"], condition=_UNANSWERED, name=f"participant_missed_{field}"
                ),
            )
            for field in ("username", "vtn", "icmn")
        ),
    ]
