"""Metadata, plots and links as the web UI shows them."""
