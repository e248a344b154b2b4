"""The command line: parse, ask the node, print, leave with an exit code."""
