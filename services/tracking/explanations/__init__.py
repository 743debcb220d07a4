"""Why a device has the events it has at a fence, or has none: looked up, folded again, and put into words."""
