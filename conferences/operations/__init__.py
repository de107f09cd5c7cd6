"""The use cases. A change is one transaction: lock the conference, decide, change rows, queue events, save.

- `sessions`: register, refresh, end.
- `calls`: start, answer, leave or end a conference, and move to another device.
- `hosting`: invite, remove and mute participants.
- `hands`: raise and lower hands.
- `modifications`: offer, accept, reject or cancel.
- `focus`: apply what the focus reports.
- `nodes`: choose media nodes for conferences, and replace media nodes that are gone.
- `deadlines`: settle what is due.
- `retention`: delete what is older than its retention.

Operations on a conference use a `LockedConference`. Locks are always taken in one order: `users`, then conferences by
ID, then sessions by ID.
"""
