"""What runs: the scenario, the round, and who takes part in it. Start with `engine`."""
