"""OpenStack services that the API asks with the token of its caller."""
