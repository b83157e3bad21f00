"""Commands over real clusters."""
