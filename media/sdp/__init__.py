"""One description: its text, its meaning, and what both sides settle. No clock, no socket."""
