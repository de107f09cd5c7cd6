"""Congestion control: the rate at which a receiver can be sent to, by its feedback. It has no clock and no socket."""
