"""What the primary, the pools and the workers share: messages, channels, a scoreboard."""
