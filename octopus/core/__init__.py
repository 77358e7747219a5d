"""Pure values and rules: no I/O, no clock, no event loop. Imported by every room, imports none."""
