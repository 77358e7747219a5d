"""Real parts for tests, on loopback in folders of their own: engines, a directory, sshd, ZooKeeper and stock clients.

Each is a context manager (``Slapd()``, ``Sshd(…)``) and, where sharing one is wanted, a session fixture that
``tests/conftest.py`` registers. What a part started is gone when its block is left, and also when the test run is killed.
"""
