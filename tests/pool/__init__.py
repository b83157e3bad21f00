"""What runs in a pool: gunicorn's configuration, its hooks, its log."""
