"""The domain services, one folder each, all alike; they meet by gRPC and events only."""
