"""Peer methods at their best fair settings, one file a package."""
