"""What is around the packet path: scripts, units, generators of traffic, how programs print and start."""
