"""What runs in the primary: one thread, one loop, no blocking call, never the app."""
