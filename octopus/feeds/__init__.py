"""Live subscriptions that keep a Cluster up to date: Mesos, Marathon, a plain Docker engine."""
