"""Find pending knocks and denials without reading the settled knocks of a conference or a session."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conferences", "0024_defaults_for_former_processes"),
        ("events", "0004_away"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="knock",
            name="knock_history",
        ),
        migrations.AddIndex(
            model_name="knock",
            index=models.Index(fields=["conference", "username", "state", "settled_at"], name="knock_denials"),
        ),
        migrations.AddIndex(
            model_name="knock",
            index=models.Index(
                condition=models.Q(("settled_at__isnull", True)),
                fields=["conference", "created_at"],
                name="knock_at_conference",
            ),
        ),
        migrations.AddIndex(
            model_name="knock",
            index=models.Index(
                condition=models.Q(("settled_at__isnull", True)), fields=["session"], name="knock_of_session"
            ),
        ),
    ]
