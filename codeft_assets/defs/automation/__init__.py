"""Sensors, schedules, automation conditions, alerts and retention."""
