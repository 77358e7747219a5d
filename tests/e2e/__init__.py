"""Tests of the installed program with real clients over real parts."""
