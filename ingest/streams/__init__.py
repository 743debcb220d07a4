"""gRPC: streams of batches from devices and forwarders."""
