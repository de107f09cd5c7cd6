"""Participants raise their hands, and a conference remembers when it was answered."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conferences", "0022_lobby"),
    ]

    operations = [
        migrations.AddField(
            model_name="conference",
            name="opened_at",
            field=models.DateTimeField(blank=True, help_text="When it was answered for the first time.", null=True),
        ),
        migrations.AddField(
            model_name="participant",
            name="hand_raised_at",
            field=models.DateTimeField(blank=True, help_text="When it raised its hand, if it still does.", null=True),
        ),
    ]
