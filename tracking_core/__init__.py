"""Pure tracking: columns of readings in, verdicts and events out. No I/O, no clock, no logging."""
