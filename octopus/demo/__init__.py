"""A small Mesos and Marathon over HTTP, in memory, and everything else on one machine."""
