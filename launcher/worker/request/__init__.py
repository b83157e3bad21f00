"""From bytes to a request: its head and its body, by gunicorn's rules and ours."""
