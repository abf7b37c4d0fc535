"""How fast a run is on this machine, beside what the machine can do at all."""
