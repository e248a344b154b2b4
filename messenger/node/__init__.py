"""The node: one process for one home; contacts, queue, transfers, and the control socket."""
