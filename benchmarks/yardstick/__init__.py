"""A yardstick for `make bench`: what the framework alone costs on this machine in this minute.

One Django REST framework view, served by Daphne on SQLite, answers PUT with eight queries in one transaction: four that
read and four that write. It has no authentication, no event and no logic, so the enabler cannot be as quick. The ratio
of the two says what the enabler adds, whatever the speed of the machine is now.
"""
