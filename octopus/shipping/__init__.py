"""What leaves the machine: the trail's lines to a syslog collector, recordings and finished files to an object store."""
