"""The live panels of the labs, one module each: what the sliders mean, what is run, what is drawn."""
