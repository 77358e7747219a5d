"""The configuration: one TOML file, overlaid by the environment and systemd's credentials, read into frozen models.

``load`` reports every fault at once as ``FILE:LINE: section.key: what is wrong; expected …``. Nothing else reads os.environ.

- ``OCTOPUS_SECTION__KEY`` sets a key (``OCTOPUS_AUTH__LDAP__SERVERS``): text as it is, numbers, true, false and lists as in
  TOML; a list of texts may also be ``a,b``.
- A systemd credential named like the key of a private file, without ``_file`` (``auth.ldap.bind_password``, ``docker.tls_key``),
  is used where the key is not set.
"""

from octopus.config.loading import load
from octopus.config.sections import Config

__all__ = ["Config", "load"]
