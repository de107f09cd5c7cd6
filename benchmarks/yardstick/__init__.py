"""A yardstick for `make bench`: the cost of the framework alone, on this machine at this time.

One Django REST framework view, served by Daphne on SQLite, answers PUT with eight queries in one transaction: four that
read and four that write. It has no authentication, no event and no logic, so the enabler cannot be as fast. The ratio
of the enabler's figures to these says how much the enabler adds, independently of the machine's present speed.
"""
