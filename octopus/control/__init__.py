"""The control plane: the supervisor, the calls between the planes, the audit log, the live-session table."""
