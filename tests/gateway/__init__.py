"""The gateway's parts by themselves: no server, no records."""
