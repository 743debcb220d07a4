"""A gRPC server for very many quiet streams: h2 for the protocol, a path of our own for nearly all of the traffic."""
