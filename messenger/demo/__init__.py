"""The demonstration: two nodes in a temporary folder exchange a text and a file, even when things go wrong."""
