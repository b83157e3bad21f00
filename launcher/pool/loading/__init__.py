"""Loads gunicorn's configuration and the app, and says why that cannot be done."""
