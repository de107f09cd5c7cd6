#!/usr/bin/env python
"""Run an administrative task of the SBE Enabler."""

import os
import sys

from sbe_enabler.firstrun import prepare


def main() -> None:
    """Hand the command line to Django, once there is what its settings refuse to start without."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sbe_enabler.settings")
    prepare(sys.argv[1:], os.environ)
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, OperationalError) as error:
        # What is missing is around the program, not in it: where it was noticed helps nobody.
        sys.exit(f"{error}".strip())


if __name__ == "__main__":
    main()
