"""What a command needs of the node: where a home lies, how its node is found, started and asked."""
