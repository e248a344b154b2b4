"""The command line: parse, ask the node, print, exit with a code."""
