"""The use cases. Each is one transaction: lock the conference, decide, save, record, announce.

- `sessions`: register, refresh, end.
- `calls`: start a conference, answer it, end one's part, terminate.
- `hosting`: invite, remove and mute others.
- `modifications`: offer, accept, reject or cancel.
- `focus`: apply what the focus reports.
- `deadlines`: settle what is due.
- `retention`: delete what is older than its retention.

All of them work on a `locked_conference`. Locks are always taken in one order: `users`, then conferences by ID, then
sessions by ID.
"""
