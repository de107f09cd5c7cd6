"""Every refusal of protocol section 8: its status, its code, and that it changes nothing."""
