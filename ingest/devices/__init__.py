"""Who may send: the register of devices, their credentials, and commands to them."""
