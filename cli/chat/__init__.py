"""`peerpost chat`: contacts and conversations, on the whole screen or line by line.

`rows`, `conversation`, `model`, `events`, `typed` and `words` are without effects: what happens is an event, the model
is what is known after it, and words are how it is shown. `calls`, `feeds` and `desk` ask the node in threads and hand
over events. `linear` and the folder `screen` show the model; only the latter needs Textual.
"""
