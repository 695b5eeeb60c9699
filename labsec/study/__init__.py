"""Many runs: sweeps that resume where they were stopped, the catalogue of settings, and the tables made of them."""
