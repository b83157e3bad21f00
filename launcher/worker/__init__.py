"""What runs in a worker: receives connections, runs the app, never accepts (but see ``kernel``)."""
