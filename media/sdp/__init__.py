"""Session descriptions: their text, their meaning, and their negotiation. No module uses a clock or a socket."""
