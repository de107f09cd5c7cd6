"""The conference resource: the state machine, the rows, the operations, REST and the admin."""
