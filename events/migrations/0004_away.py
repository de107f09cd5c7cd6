"""Record which sessions have lost their readers, and which process had the last one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0003_help_texts"),
    ]

    operations = [
        migrations.AddField(
            model_name="session",
            name="away_until",
            field=models.DateTimeField(
                blank=True,
                help_text="It is away. If it has joined no conference at this time, it ends.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="followed_by",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="The last process with a reader of its log.",
                max_length=8,
            ),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                condition=models.Q(away_until__isnull=False), fields=["away_until"], name="session_away"
            ),
        ),
    ]
