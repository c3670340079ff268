"""The world from outside: OpenStack and the records, as activities."""
