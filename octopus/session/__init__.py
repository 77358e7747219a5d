"""The data plane: SSH connections, sessions and their recordings, in worker processes."""
