"""The whole on one machine: command line, embedded servers, supervisor, doctor."""

import os

# The stack calls its services by gRPC and starts processes. gRPC's own handling of fork() can abort a child between
# fork and exec; there is nothing to handle there.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
