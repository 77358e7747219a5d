"""What runs on a timer over the Cluster: capacity figures, usage, UNIQUE apps, events, metrics."""
