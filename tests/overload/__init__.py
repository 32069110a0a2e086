"""`make overload`: more than the system can do, and less than it needs, and a verdict after each."""
