"""Refer to sessions in the application `events`, which has taken them over. Tables and rows stay as they are."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conferences", "0012_scrubbed_modifications"),
        ("events", "0002_session"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="participant",
                    name="session",
                    field=models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="participants",
                        to="events.session",
                    ),
                ),
                migrations.AlterField(
                    model_name="stay",
                    name="session",
                    field=models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="stays", to="events.session"
                    ),
                ),
                migrations.DeleteModel(name="Session"),
            ],
        ),
    ]
