"""The database of record: tables, migrations, queries. Only activities write; everybody else reads."""
