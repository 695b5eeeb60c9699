"""What lab 07 asks: what its predictions come to, and its quiz."""
