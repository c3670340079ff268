"""MySQL. What is the same in MariaDB is MariaDB's."""
