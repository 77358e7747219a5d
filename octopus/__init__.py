"""octopus: an SSH gateway into the containers of Mesos and Marathon tasks."""
