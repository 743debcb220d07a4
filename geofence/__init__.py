"""Pure geometry: fences, compiled arrays and their index, containment, distance, crossing, transitions, geodesy."""
