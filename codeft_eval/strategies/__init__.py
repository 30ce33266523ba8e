"""Strategies at inference: of several attempts at a problem the one that is answered, chosen without its tests."""
