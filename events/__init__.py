"""The event channel: a durable log per session and its deliveries."""
