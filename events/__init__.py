"""Sessions and the event channel: one durable log per session, sent over WebSocket, SSE and long poll."""
