"""The primitives, as data: one module for each kind of value that they take."""
