"""What the tools share on the command line, from their names to the config they read."""
