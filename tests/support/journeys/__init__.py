"""The users, browsers and robots of the journeys."""
