"""Session descriptions: their text, their meaning, and what both sides settle. No clock, no socket."""
