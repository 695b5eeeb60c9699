"""The live panels of the labs, one module each: what the sliders mean, what is run, what is drawn.

A module that has a function `panel` is a panel: the tests find it by that name and drive every control of it.
"""
