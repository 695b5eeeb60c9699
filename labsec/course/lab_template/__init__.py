"""What `labsec new` copies: a small lab that works, with NN for its number and TOPIC for its title.

exercises.py       becomes labsec/course/exercises/labNN.py
panel.py           becomes labsec/course/panels/labNN.py
solution.py.txt    becomes solutions/NN_topic.py
"""
