"""The list of live conferences reads the participants that are present, so it no longer needs a column of its own."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("conferences", "0015_history"),
    ]

    operations = [
        *(
            migrations.RemoveIndex(model_name="participant", name=f"participant_live_{field}")
            for field in ("username", "vtn", "icmn")
        ),
        migrations.RemoveField(model_name="participant", name="conference_ended"),
    ]
