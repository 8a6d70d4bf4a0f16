"""The ground that commands and tests stand on: servers and processes of our own, on free loopback ports."""
