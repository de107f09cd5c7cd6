"""The people, browsers and robots of the journeys."""
