"""Settings of a small project with the enabler's SQLite options."""

import os
from pathlib import Path

SECRET_KEY = "no secret: it serves loopback for a minute"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "benchmarks.yardstick.urls"
INSTALLED_APPS = ["django.contrib.sessions", "rest_framework"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ["SBE_YARDSTICK_DIRECTORY"]) / "yardstick.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=wal; PRAGMA synchronous=normal",
            "timeout": 10,
        },
    }
}
REST_FRAMEWORK: dict[str, object] = {"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None}
USE_TZ = True
