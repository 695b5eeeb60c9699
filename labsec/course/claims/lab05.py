"""What lab 05 measures for its claims."""

CLAIMS = ()
