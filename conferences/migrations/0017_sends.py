"""Record which media a participant's device sends. Invitations tell it to the called devices."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conferences", "0016_list_present_participants"),
    ]

    operations = [
        migrations.AddField(
            model_name="participant",
            name="sends",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The media that its device sends off hold: words of audio, screen and video.",
                max_length=18,
            ),
        ),
    ]
