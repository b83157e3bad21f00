"""Answers the control socket, and sees that commands find it."""
