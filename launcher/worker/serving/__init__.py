"""What a thread does with a connection, phase by phase: read, run, answer, leave."""
