"""Tests of one room against its real counterpart."""
