"""A small OpenStack for one machine: Nova, Cinder, Neutron and Glance over HTTP; its servers are processes here."""
