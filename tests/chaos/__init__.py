"""`make chaos`: orders and money calls while processes, servers and connections fail, and a verdict after it."""
