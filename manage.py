#!/usr/bin/env python
"""Run an administrative task of the SBE Enabler."""

import os
import sys

from sbe_enabler.firstrun import prepare


def main() -> None:
    """Hand the command line to Django, once there is what its settings refuse to start without."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sbe_enabler.settings")
    prepare(sys.argv[1:], os.environ)
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
