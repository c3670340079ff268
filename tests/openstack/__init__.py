"""The whole life of a database on a real OpenStack: `make openstack`. Never part of `make test`."""
