"""Who people are: LDAP, the users file, the keyring, the limits on failures."""
