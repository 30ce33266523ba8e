"""The command ``codeft``: the data root, a project's settings, and the programs of the three packages."""
