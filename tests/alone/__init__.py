"""What measures time or CPU: it runs when every other test has ended; see tests/tiers.py."""
