"""The chat on the whole screen, with Textual (the extra `tui`). No other folder imports that."""
