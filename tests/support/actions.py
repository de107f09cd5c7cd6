"""The names of the actions of PUT, as in requests."""

MOD, HOLD, RESUME = (f"initiate-conference-{what}" for what in ("mod", "hold", "resume"))
CALL_HOLD, ACCEPT, WITHDRAW = "initiate-call-hold", "accept-conference-mod", "rejectCancel-conference-mod"
