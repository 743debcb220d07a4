"""The whole on one machine: command line, embedded servers, supervisor, doctor."""
