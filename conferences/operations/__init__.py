"""The use cases. Each is one transaction: lock the conference, decide, save, record, announce.

- `sessions`: register, refresh, end.
- `calls`: start a conference, answer it, end one's part, remove someone, terminate.
- `modifications`: offer, accept, reject or cancel.
- `deadlines`: settle what is due.

`room` is the ground that they stand on. Locks are always taken in one order: `users`, then conferences by ID, then
sessions by ID.
"""
