"""The demonstration: two nodes in a temporary folder exchange a text and a file, also when things go wrong."""
