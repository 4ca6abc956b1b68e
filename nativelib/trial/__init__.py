"""Throw-away environments, and what happened when wheels were installed and run in them."""
