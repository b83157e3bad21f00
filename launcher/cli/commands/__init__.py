"""The commands, one module per group of them; each is imported when it is asked for."""
