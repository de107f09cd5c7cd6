"""Give columns a default in the database: during an upgrade, processes of the former version write rows without them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conferences", "0023_hands"),
    ]

    operations = [
        migrations.AlterField(
            model_name="conference",
            name="locked",
            field=models.BooleanField(
                db_default=False, default=False, help_text="Whoever is not invited must knock. Only if access is open."
            ),
        ),
        migrations.AlterField(
            model_name="participant",
            name="comment",
            field=models.TextField(
                blank=True, db_default="", default="", help_text="What its user wrote about the call.", max_length=500
            ),
        ),
        migrations.AlterField(
            model_name="participant",
            name="invited_by",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The username of the user who invited it.",
                max_length=128,
            ),
        ),
    ]
