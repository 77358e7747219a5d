"""Containers on their agents: transports, exec, and what finds and ends processes."""
