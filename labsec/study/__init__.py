"""Many runs: sweeps that go on where they were stopped, the catalogue of settings, and the tables made of them."""
