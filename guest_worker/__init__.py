"""The world from inside: runs in the database server and drives its engine."""

__version__ = "0.4.0"
