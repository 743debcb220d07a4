"""Why a device has the events that it has at a fence, or has none: folded again from stored fixes, step by step."""
