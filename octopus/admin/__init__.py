"""The admin pages and their API: what octopus knows, for people and for scripts."""
