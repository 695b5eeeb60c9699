"""How others run the same federation: a tutorial's loop, ByzFL and Flower."""
