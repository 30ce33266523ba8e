"""The scoreboard: scores relative to the reference model as tables, plots and pages."""
