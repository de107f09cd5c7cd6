"""Record which participants' pages have announced that they close or reload."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conferences", "0017_sends"),
    ]

    operations = [
        migrations.AddField(
            model_name="participant",
            name="away",
            field=models.BooleanField(
                db_default=False, default=False, help_text="Its page has announced that it closes or reloads."
            ),
        ),
    ]
