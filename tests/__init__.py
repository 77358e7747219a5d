"""The tests: unit, integration (one real part each), e2e (the installed program and real clients)."""
