"""Seeded faults against the real processes and servers: what was acknowledged is stored, once, and nothing else is."""

import os

# Threads hold gRPC channels while processes are started: gRPC's handling of fork() can abort a child before its exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
